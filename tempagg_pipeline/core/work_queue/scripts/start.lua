-- start: a worker takes its lease over. Counts an attempt of each item, once however often it is repeated.
local token, owner, lease_ms = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2])
local held, records = only_held(token, list_of(ARGV[FIRST + 3]))

may_write_when_full()
local claimed, expiry = scores_of(CLAIMED, held), moment(NOW + lease_ms)
local unstarted, texts, expiries = {}, {}, {}
for index, name in ipairs(held) do
  if claimed[name] then
    local record = records[name]
    record.attempts = record.attempts + 1
    unstarted[#unstarted + 1] = name
    texts[#texts + 1] = name
    texts[#texts + 1] = record_text(record)
  end
  expiries[2 * index - 1], expiries[2 * index] = expiry, name
end
send('ZREM', CLAIMED, unstarted)
send('ZADD', STARTED, expiries)
send('HSET', ITEMS, texts)
if #held > 0 then
  redis.call('HSET', OWNERS, token, owner)
end
return json(held)
