-- fail: an attempt failed; back with a delay, or a dead letter.
local token, permanent = ARGV[FIRST], ARGV[FIRST + 1] == '1'
local names, reasons = {}, {}
for index, failure in ipairs(list_of(ARGV[FIRST + 2])) do
  names[index] = failure[1]
  reasons[failure[1]] = failure[2]
end
local held, records = only_held(token, names)
local owner = redis.call('HGET', OWNERS, token)

local claimed = scores_of(CLAIMED, held)
let_go(token, held)
local retried, buried = {}, {}
for _, name in ipairs(held) do
  local record = records[name]
  if claimed[name] then -- whoever fails an item has tried it
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
return { json(retried), json(buried) }
