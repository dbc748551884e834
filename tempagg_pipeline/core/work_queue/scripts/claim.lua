-- claim: leases up to `limit` ready items under one token. Repeated with the same token, it returns what that holds.
local token, owner, limit, lease_ms = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), tonumber(ARGV[FIRST + 3])

local MAX_NAME_BYTES = 1024
local SHOWN_BYTES = 200
local STAND_IN = '(no file name) '
local POP_BUDGET = 5000 -- pushes beyond `limit` that one claim sorts out as junk or duplicates

local function is_utf8(name)
  if not string.find(name, '[\128-\255]') then
    return true
  end
  local remains = name
  for _, sequence in ipairs({
    '\240[\144-\191][\128-\191][\128-\191]', '[\241-\243][\128-\191][\128-\191][\128-\191]',
    '\244[\128-\143][\128-\191][\128-\191]', '\224[\160-\191][\128-\191]', '[\225-\236][\128-\191][\128-\191]',
    '\237[\128-\159][\128-\191]', '[\238-\239][\128-\191][\128-\191]', '[\194-\223][\128-\191]',
  }) do
    remains = string.gsub(remains, sequence, ' ')
  end
  return not string.find(remains, '[\128-\255]')
end

local function escaped(bytes)
  return (string.gsub(bytes, '[%z\1-\31\127-\255]', function(byte)
    return string.format('\\x%02x', string.byte(byte))
  end))
end

-- What no file can be called never leaves the queue. Its dead letter bears a readable stand-in, itself no name either.
local function bury_if_junk(name, since)
  local shown, reason
  if name == '' then
    shown, reason = 'empty', 'expected a file name, found an empty string'
  elseif string.sub(name, 1, #STAND_IN) == STAND_IN then
    shown, reason = string.sub(name, #STAND_IN + 1), 'expected a file name, found what stands for something else'
  elseif #name > MAX_NAME_BYTES then
    shown = escaped(string.sub(name, 1, SHOWN_BYTES)) .. '... sha1 ' .. redis.sha1hex(name)
    reason = string.format('expected a file name of at most %d bytes, found %d', MAX_NAME_BYTES, #name)
  elseif not is_utf8(name) then
    shown, reason = escaped(name), 'expected a file name in UTF-8, found other bytes (shown as \\xNN)'
  else
    return false
  end
  write_letter(STAND_IN .. shown, { reason = reason, owner = owner, attempts = 0, since = since })
  return true
end

local function answer(names, records)
  local fields = {}
  for index, name in ipairs(names) do
    local record, at = records[name], 4 * index
    fields[at - 3], fields[at - 2], fields[at - 1], fields[at] =
      name, record.attempts, record.deliveries, NOW - record.since
  end
  return json(fields)
end

local function with_age(names, records)
  local since = scores_of(SINCE, names)
  for _, name in ipairs(names) do
    records[name].since = tonumber(since[name])
  end
end

-- Takes due items first: they have waited longest.
local function take_waiting()
  local due = redis.call('ZRANGEBYSCORE', WAITING, '-inf', NOW, 'LIMIT', 0, limit)
  local records = records_of(due)
  send('ZREM', WAITING, due)
  with_age(due, records)
  return due, records
end

local function take_pushed(names, records)
  local popped = tonumber(redis.call('HGET', COUNTERS, 'popped')) or 0
  local budget, since, since_text, known_up_to = limit + POP_BUDGET, NOW, '', 0
  while #names < limit and budget > 0 do
    local pushed = redis.call('LPOP', PUSHED, math.min(limit - #names, budget, CHUNK))
    if not pushed then
      break
    end
    budget = budget - #pushed
    local known, fresh, ages = records_of(pushed), {}, {}
    for _, name in ipairs(pushed) do
      popped = popped + 1
      if popped > known_up_to then
        since, known_up_to = pushed_since(popped)
        since_text = moment(since)
      end
      local record = known[name]
      if records[name] or bury_if_junk(name, since) then -- in this claim already, or buried: this push is dealt with
      elseif record and record.token ~= '' then
        redis.call('SADD', PARKED, name)
      else
        if record then -- delayed after a failure, and wanted again: now
          redis.call('ZREM', WAITING, name)
          with_age({ name }, known)
        else
          record = { attempts = 0, deliveries = 0, since = since }
          fresh[#fresh + 1] = name
          ages[#ages + 1] = since_text
          ages[#ages + 1] = name
        end
        records[name] = record
        names[#names + 1] = name
      end
    end
    send('ZREM', DEAD, fresh)
    send('HDEL', LETTERS, fresh)
    send('ZADD', SINCE, ages)
  end
  redis.call('HSET', COUNTERS, 'popped', popped)
  redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', popped)
end

local function lease(names, records)
  local claimed, texts, expiry = {}, {}, moment(NOW + lease_ms)
  for index, name in ipairs(names) do
    local record, at = records[name], 2 * index
    record.token, record.deliveries = token, record.deliveries + 1
    claimed[at - 1], claimed[at] = expiry, name
    texts[at - 1], texts[at] = name, record_text(record)
  end
  send('ZADD', CLAIMED, claimed)
  send('HSET', ITEMS, texts)
  redis.call('ZADD', BATCHES, NOW, token)
  redis.call('HSET', OWNERS, token, owner)
  redis.call('HSET', NAMES, token, json(names))
  redis.call('HSET', LEFT, token, #names)
end

if redis.call('ZSCORE', BATCHES, token) then -- the reply to the first try was lost
  local names, records = all_held(token)
  with_age(names, records)
  return answer(names, records)
end
reclaim()
note_length()
local names, records = take_waiting()
take_pushed(names, records)
if #names > 0 then
  lease(names, records)
end
return answer(names, records)
