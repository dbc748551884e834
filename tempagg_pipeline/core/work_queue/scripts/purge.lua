-- purge: dead letters are thrown away; those named, or the oldest up to a time.
local until_ms, limit = ARGV[FIRST], ARGV[FIRST + 1]
local names = list_of(ARGV[FIRST + 2]) or redis.call('ZRANGEBYSCORE', DEAD, '-inf', until_ms, 'LIMIT', 0, limit)
local purged = {}
for _, name in ipairs(names) do
  if redis.call('ZREM', DEAD, name) == 1 then
    purged[#purged + 1] = name
  end
end
send('HDEL', LETTERS, purged)
return json(purged)
