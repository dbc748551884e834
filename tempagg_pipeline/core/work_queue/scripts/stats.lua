-- stats: how many items are where, and since when the oldest is not done.
note_length()

local oldest = tonumber(redis.call('ZRANGE', SINCE, 0, 0, 'WITHSCORES')[2]) or NOW
local pushed = redis.call('LLEN', PUSHED)
if pushed > 0 then
  local popped = tonumber(redis.call('HGET', COUNTERS, 'popped')) or 0
  oldest = math.min(oldest, (pushed_since(popped + 1)))
end
local delayed = redis.call('ZCOUNT', WAITING, '(' .. NOW, '+inf')
return {
  pushed + redis.call('ZCARD', WAITING) - delayed,
  delayed,
  redis.call('ZCARD', CLAIMED),
  redis.call('ZCARD', STARTED),
  redis.call('SCARD', PARKED),
  redis.call('ZCARD', DEAD),
  tonumber(redis.call('HGET', COUNTERS, 'completed')) or 0,
  NOW - oldest,
}
