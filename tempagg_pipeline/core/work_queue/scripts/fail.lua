-- fail: an attempt failed; back with a delay, or a dead letter. Arguments end in name, reason, name, reason, ...
local token, permanent = ARGV[FIRST], ARGV[FIRST + 1] == '1'
local names, reasons = {}, {}
for index = FIRST + 2, #ARGV, 2 do
  names[#names + 1] = ARGV[index]
  reasons[ARGV[index]] = ARGV[index + 1]
end
local held, records = only_held(token, names)
local owner = redis.call('HGET', OWNERS, token)

local unstarted = {}
for _, name in ipairs(held) do
  unstarted[name] = redis.call('ZSCORE', CLAIMED, name) and true
end
let_go(token, held)
local retried, buried = {}, {}
for _, name in ipairs(held) do
  local record = records[name]
  if unstarted[name] then -- whoever fails an item has tried it
    record.attempts = record.attempts + 1
  end
  if permanent then
    bury(name, record, reasons[name], owner)
    buried[#buried + 1] = name
  elseif retry_or_bury(name, record, reasons[name], owner) then
    buried[#buried + 1] = name
  else
    retried[#retried + 1] = name
  end
end
return { retried, buried }
