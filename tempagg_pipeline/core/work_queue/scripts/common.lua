-- Stands before every script: the keys' names, the clock, and the moves that several operations share.

local PUSHED, WAITING, CLAIMED, STARTED, BATCHES, OWNERS, NAMES, LEFT = unpack(KEYS, 1, 8)
local ITEMS, SINCE, PARKED, DEAD, LETTERS, COUNTERS, SEEN = unpack(KEYS, 9)

local MAX_ATTEMPTS = tonumber(ARGV[1])
local BACKOFF_MS, BACKOFF_MAX_MS = tonumber(ARGV[2]), tonumber(ARGV[3])
local JITTER, RANDOM = tonumber(ARGV[4]), tonumber(ARGV[5]) -- both 0 to 1
local FIRST = 6 -- where an operation's own arguments begin

local CHUNK = 4000 -- arguments at a time: Lua's unpack takes fewer than 8,000. Even, so that pairs stay together
local RECLAIM_LIMIT = 1000 -- expired leases that one call gives back; the next call goes on

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000) -- all times are milliseconds of the server's clock

-- A full server refuses a command that may take memory when it is a script's first write, and lets the script end once
-- it has written. This writes nothing and counts: what adds no item must go on, else nothing ever frees memory.
local function may_write_when_full()
  redis.call('ZREM', BATCHES, '')
end

-- As text, since Redis would turn the number into text again for each item.
local function moment(ms)
  return string.format('%d', ms)
end

local function send(command, key, arguments)
  for first = 1, #arguments, CHUNK do
    redis.call(command, key, unpack(arguments, first, math.min(first + CHUNK - 1, #arguments)))
  end
end

-- Lists travel as one JSON text each way: several times as fast as an argument and a reply for each name.
local function list_of(argument)
  return argument ~= '' and cjson.decode(argument) or nil
end

local function json(list)
  return #list > 0 and cjson.encode(list) or '[]' -- an empty table would be an object
end

-- An item's record is "attempts deliveries token", without a token while nobody holds the item.
local function records_of(names)
  local records = {}
  for first = 1, #names, CHUNK do
    local values = redis.call('HMGET', ITEMS, unpack(names, first, math.min(first + CHUNK - 1, #names)))
    for index = 1, #values do
      if values[index] then
        local attempts, deliveries, token = string.match(values[index], '^(%d+) (%d+) (.*)$')
        records[names[first + index - 1]] =
          { attempts = tonumber(attempts), deliveries = tonumber(deliveries), token = token }
      end
    end
  end
  return records
end

local function record_text(record)
  return record.attempts .. ' ' .. record.deliveries .. ' ' .. record.token
end

-- By name, the score that it has in a sorted set; nothing for those that are not in it.
local function scores_of(place, names)
  local scores = {}
  for first = 1, #names, CHUNK do
    local values = redis.call('ZMSCORE', place, unpack(names, first, math.min(first + CHUNK - 1, #names)))
    for index = 1, #values do
      scores[names[first + index - 1]] = values[index] or nil
    end
  end
  return scores
end

-- Those of the names that the token still holds, each once, and all records.
local function only_held(token, names)
  local records, held, seen = records_of(names), {}, {}
  for _, name in ipairs(names) do
    local record = records[name]
    if record and record.token == token and not seen[name] then
      seen[name] = true
      held[#held + 1] = name
    end
  end
  return held, records
end

-- All that the token holds; and all records. What it claimed is kept as one list, what it has let go is no longer its.
local function all_held(token)
  local names = redis.call('HGET', NAMES, token)
  return only_held(token, names and cjson.decode(names) or {})
end

-- Ends a token's hold on names; the token itself goes with its last name.
local function let_go(token, names)
  if #names == 0 then
    return
  end
  send('ZREM', CLAIMED, names)
  send('ZREM', STARTED, names)
  if redis.call('HINCRBY', LEFT, token, -#names) <= 0 then
    redis.call('ZREM', BATCHES, token)
    for _, key in ipairs({ OWNERS, NAMES, LEFT }) do
      redis.call('HDEL', key, token)
    end
  end
end

-- Doubles with each failure. The jitter spreads failures of one moment evenly: the golden ratio never falls into step.
local drawn = 0
local function backoff_ms(failures)
  local delay = math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ^ math.min(failures - 1, 50))
  drawn = drawn + 1
  return math.floor(delay * (1 - JITTER * ((RANDOM + drawn * 0.61803398875) % 1)))
end

-- Makes an item that nobody holds any more ready after a delay. A push of it that was parked is merged with it.
local function give_back(name, record, delay_ms)
  record.token = ''
  redis.call('HSET', ITEMS, name, record_text(record))
  redis.call('ZADD', WAITING, NOW + delay_ms, name)
  redis.call('SREM', PARKED, name)
end

local function write_letter(name, letter)
  redis.call('ZADD', DEAD, NOW, name)
  redis.call('HSET', LETTERS, name, cjson.encode(letter))
end

-- Makes an item that nobody holds any more a dead letter. A push of it that was parked is a new request: it comes next.
local function bury(name, record, reason, owner)
  local since = tonumber(redis.call('ZSCORE', SINCE, name))
  write_letter(name, { reason = reason, owner = owner or '', attempts = record.attempts, since = since })
  redis.call('HDEL', ITEMS, name)
  redis.call('ZREM', SINCE, name)
  if redis.call('SREM', PARKED, name) == 1 then
    redis.call('RPUSH', PUSHED, name)
  end
end

-- After an attempt that failed: back with a delay, or buried when it was the last. Returns whether it was buried.
local function retry_or_bury(name, record, reason, owner)
  if record.attempts >= MAX_ATTEMPTS then
    bury(name, record, reason, owner)
    return true
  end
  give_back(name, record, backoff_ms(record.attempts))
  return false
end

-- After a delivery that came to no attempt.
local function give_back_unstarted(name, record)
  give_back(name, record, backoff_ms(record.deliveries - record.attempts))
end

local function reclaim_from(place, end_of_lease)
  local names = redis.call('ZRANGEBYSCORE', place, '-inf', NOW, 'LIMIT', 0, RECLAIM_LIMIT)
  local records, by_token, owners = records_of(names), {}, {}
  for _, name in ipairs(names) do
    local token = records[name].token
    if not by_token[token] then
      by_token[token] = {}
      owners[token] = redis.call('HGET', OWNERS, token)
    end
    table.insert(by_token[token], name)
  end
  for token, held in pairs(by_token) do
    let_go(token, held)
    for _, name in ipairs(held) do
      end_of_lease(name, records[name], owners[token])
    end
  end
  return #names
end

-- Takes expired leases back; returns how many.
local function reclaim()
  return reclaim_from(CLAIMED, give_back_unstarted)
    + reclaim_from(STARTED, function(name, record, owner)
      retry_or_bury(name, record, 'lease expired: its worker was silent for too long', owner)
    end)
end

-- A push carries no time. So each look at the list notes how long it is: whatever lies in it now was pushed before now.
-- Kept: "at time T the list reached up to push number N since it was last empty". Notes get sparser with age, so that
-- there are few and an age is wrong by 1 % or a second (or, where nobody looked, by the time until the next look).
local function note_length()
  local length = redis.call('LLEN', PUSHED)
  if length == 0 then
    redis.call('DEL', SEEN)
    redis.call('HDEL', COUNTERS, 'popped')
    return
  end
  local popped = tonumber(redis.call('HGET', COUNTERS, 'popped')) or 0
  local last = redis.call('ZRANGE', SEEN, -1, -1, 'WITHSCORES')
  local last_time, last_number = tonumber(last[1]), tonumber(last[2])
  if last_number and last_number > popped + length then -- somebody else took names off the list
    popped = last_number - length
    redis.call('HSET', COUNTERS, 'popped', popped)
    redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', popped)
  end
  local oldest_time = tonumber(redis.call('ZRANGE', SEEN, 0, 0)[1])
  local number = popped + length
  if not oldest_time
    or (number > last_number and NOW - last_time >= math.max(1000, (NOW - oldest_time) / 100)) then
    redis.pcall('ZADD', SEEN, number, NOW) -- a full server refuses; that must stop nothing
  end
end

-- Since when the push of this number (counted since the list was last empty) is known to be there, and up to which
-- number the same is known.
local function pushed_since(number)
  local note = redis.call('ZRANGEBYSCORE', SEEN, number, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(note[1]) or NOW, tonumber(note[2]) or math.huge
end
