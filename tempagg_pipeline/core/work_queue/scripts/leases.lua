-- leases: the tokens that hold items, oldest first, up to a limit.
local limit = tonumber(ARGV[FIRST])

local function scores(place, names)
  local found = {}
  for first = 1, #names, CHUNK do
    for _, score in ipairs(redis.call('ZMSCORE', place, unpack(names, first, math.min(first + CHUNK - 1, #names)))) do
      if score then
        found[#found + 1] = tonumber(score)
      end
    end
  end
  return found
end

local reply = { NOW }
local batches = redis.call('ZRANGE', BATCHES, 0, limit - 1, 'WITHSCORES')
for index = 1, #batches, 2 do
  local token = batches[index]
  local names = names_held_by(token)
  local claimed, started = scores(CLAIMED, names), scores(STARTED, names)
  local expiry = math.huge
  for _, place in ipairs({ claimed, started }) do
    for _, score in ipairs(place) do
      expiry = math.min(expiry, score)
    end
  end
  reply[#reply + 1] = {
    token, redis.call('HGET', OWNERS, token), #names, #started, tonumber(batches[index + 1]), expiry,
  }
end
return reply
