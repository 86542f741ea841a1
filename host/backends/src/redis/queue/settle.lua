-- ARGV: group, receipt, verb, and the verb's arguments: renew lease, acknowledge, retry delay reason,
-- release, bury reason. Answers 1, or 0 if the lease ended or was settled.
local g, receipt, verb = group(ARGV[1]), ARGV[2], ARGV[3]
local now = milliseconds()
local id, state = held(g, receipt, now)
if not id then return 0 end

if verb == 'renew' then
  redis.call('ZADD', g.leased, now + tonumber(ARGV[4]), id)
  return 1
end

local meta = meta_of(id)
if verb == 'acknowledge' then
  leave(g, id, meta, now)
  forget(g, id)
elseif verb == 'bury' then
  fail(state, now, ARGV[4])
  state.died, state.reason = now, ARGV[4]
  keep_state(g, id, state)
  leave(g, id, meta, now)
  redis.call('ZADD', g.dead, redis.call('INCR', P .. ':deaths'), id)
else
  local due = 0
  if verb == 'retry' then
    fail(state, now, ARGV[5])
    due = now + tonumber(ARGV[4])
  else
    state.attempt, state.lease = state.attempt - 1, 0
  end
  keep_state(g, id, state)
  redis.call('ZREM', g.leased, id)
  activate(g, id, meta, due, now)
end
return 1
