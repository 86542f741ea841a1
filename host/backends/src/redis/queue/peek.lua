-- ARGV: group, `ready`, `delayed` or `leased`, the number after which to begin, the most messages,
-- after how many bytes to stop, how many messages to look at.
-- Answers `not found`; or `ok`, the number after which to go on ('' at the end), and the messages:
-- id, attempts, publication time, what it waits for and until when ('' for nothing), body.
local g, part = group(ARGV[1]), ARGV[2]
local limit, max_bytes, scan = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('SISMEMBER', P .. ':groups', g.name) == 0 then return { 'not found' } end
local now = milliseconds()
local all = redis.call('ZRANGE', g.all, '(' .. ARGV[3], '+inf', 'BYSCORE', 'LIMIT', 0, scan, 'WITHSCORES')
local found, bytes, last = {}, 0, ''
for index = 1, #all, 2 do
  if #found >= limit or bytes >= max_bytes then return { 'ok', last, found } end
  local id = all[index]
  last = integer(tonumber(all[index + 1]))
  -- What is due counts as ready, whether or not a receiver moved it already.
  local ends, due = redis.call('ZSCORE', g.leased, id), redis.call('ZSCORE', g.delayed, id)
  local of, waits, till = 'delayed', 'behind', ''
  if ends and tonumber(ends) > now then
    of, waits, till = 'leased', 'leased', integer(tonumber(ends))
  elseif due and tonumber(due) > now then
    waits, till = 'time', integer(tonumber(due))
  elseif ends or due or redis.call('ZSCORE', g.ready, id) then
    of, waits = 'ready', 'ready'
  end
  if of == part then
    local body = redis.call('HGET', BODIES, id)
    bytes = bytes + #body
    found[#found + 1] = {
      id, integer(state_of(g, id).attempt), integer(meta_of(id).published), waits, till, body,
    }
  end
end
if #all < 2 * scan then last = '' end
return { 'ok', last, found }
