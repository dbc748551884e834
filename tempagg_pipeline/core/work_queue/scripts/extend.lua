-- extend: renews leases, of all that the token holds when no names are given. Never shortens one.
local token, lease_ms = ARGV[FIRST], tonumber(ARGV[FIRST + 1])
local names = list_of(ARGV[FIRST + 2])
local held
if names then
  held = only_held(token, names)
else
  held = all_held(token)
end

may_write_when_full()
local expiry = moment(NOW + lease_ms)
for first = 1, #held, CHUNK / 2 do
  local expiries = {}
  for index = first, math.min(first + CHUNK / 2 - 1, #held) do
    expiries[#expiries + 1] = expiry
    expiries[#expiries + 1] = held[index]
  end
  redis.call('ZADD', CLAIMED, 'XX', 'GT', unpack(expiries))
  redis.call('ZADD', STARTED, 'XX', 'GT', unpack(expiries))
end
return json(held)
