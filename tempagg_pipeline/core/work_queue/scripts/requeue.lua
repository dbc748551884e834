-- requeue: dead letters go to the end of the list, to be processed afresh; those named, or the oldest up to a time.
local until_ms, limit = ARGV[FIRST], ARGV[FIRST + 1]
local names = list_of(ARGV[FIRST + 2]) or redis.call('ZRANGEBYSCORE', DEAD, '-inf', until_ms, 'LIMIT', 0, limit)
local requeued = {}
for _, name in ipairs(names) do
  if redis.call('ZREM', DEAD, name) == 1 then
    requeued[#requeued + 1] = name
  end
end
send('HDEL', LETTERS, requeued)
send('RPUSH', PUSHED, requeued)
return json(requeued)
