-- dead: dead letters, newest first.
local offset, limit = tonumber(ARGV[FIRST]), tonumber(ARGV[FIRST + 1])
local reply = {}
local dead = redis.call('ZREVRANGE', DEAD, offset, offset + limit - 1, 'WITHSCORES')
for index = 1, #dead, 2 do
  reply[#reply + 1] = dead[index]
  reply[#reply + 1] = tonumber(dead[index + 1])
  reply[#reply + 1] = redis.call('HGET', LETTERS, dead[index])
end
return reply
