-- leases: the tokens that hold items, oldest first, up to a limit.
local limit = tonumber(ARGV[FIRST])

local reply = { NOW }
local batches = redis.call('ZRANGE', BATCHES, 0, limit - 1, 'WITHSCORES')
for index = 1, #batches, 2 do
  local token = batches[index]
  local names = all_held(token)
  local claimed, started, begun, expiry = scores_of(CLAIMED, names), scores_of(STARTED, names), 0, math.huge
  for _, name in ipairs(names) do
    expiry = math.min(expiry, tonumber(claimed[name] or started[name]))
    begun = begun + (started[name] and 1 or 0)
  end
  reply[#reply + 1] = {
    token, redis.call('HGET', OWNERS, token), #names, begun, tonumber(batches[index + 1]), expiry,
  }
end
return reply
