-- release: gives items back, all that the token holds when no names are given. Without a reason it is as if they had
-- not been claimed; with one, an item that was started has failed, and one that was not has been delivered in vain.
local token, reason = ARGV[FIRST], ARGV[FIRST + 1]
local names = list_of(ARGV[FIRST + 2])
local held, records
if names then
  held, records = only_held(token, names)
else
  held, records = all_held(token)
end
local owner = redis.call('HGET', OWNERS, token)

local started = scores_of(STARTED, held)
let_go(token, held)
local given_back, buried = {}, {}
for _, name in ipairs(held) do
  local record = records[name]
  local was_buried = false
  if reason == '' then
    record.deliveries = record.deliveries - 1
    record.attempts = record.attempts - (started[name] and 1 or 0)
    give_back(name, record, 0)
  elseif started[name] then
    was_buried = retry_or_bury(name, record, reason, owner)
  else
    give_back_unstarted(name, record)
  end
  table.insert(was_buried and buried or given_back, name)
end
return { json(given_back), json(buried) }
