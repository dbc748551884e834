-- complete: items are done and leave the queue. One that was pushed meanwhile goes to the end of the list.
local token = ARGV[FIRST]
local held = only_held(token, list_of(ARGV[FIRST + 1]))

let_go(token, held)
send('HDEL', ITEMS, held)
send('ZREM', SINCE, held)
if #held > 0 then
  redis.call('HINCRBY', COUNTERS, 'completed', #held)
end
if redis.call('SCARD', PARKED) > 0 then
  for _, name in ipairs(held) do
    if redis.call('SREM', PARKED, name) == 1 then
      redis.call('RPUSH', PUSHED, name)
    end
  end
end
return json(held)
