-- peek: names that the next claims would return, in order.
local limit = tonumber(ARGV[FIRST])
local names = redis.call('ZRANGEBYSCORE', WAITING, '-inf', NOW, 'LIMIT', 0, limit)
for _, name in ipairs(limit > #names and redis.call('LRANGE', PUSHED, 0, limit - #names - 1) or {}) do
  names[#names + 1] = name
end
return names
