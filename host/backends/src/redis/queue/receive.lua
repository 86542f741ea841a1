-- ARGV: group, the most messages, lease in milliseconds, after how many bytes to stop.
-- Answers `not found`; or `ok`, the milliseconds until something becomes due ('' for never) and
-- the deliveries: receipt, id, attempt, publication time, body.
local g = group(ARGV[1])
local max, lease, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local BATCH = 128
if redis.call('SISMEMBER', P .. ':groups', g.name) == 0 then return { 'not found' } end
if redis.call('SISMEMBER', P .. ':paused', g.name) == 1 then return { 'ok', '', {} } end
local now = milliseconds()

local expired = redis.call('ZRANGE', g.leased, '-inf', now, 'BYSCORE', 'LIMIT', 0, BATCH, 'WITHSCORES')
for index = 1, #expired, 2 do
  local id = expired[index]
  local state = state_of(g, id)
  fail(state, tonumber(expired[index + 1]), 'lease expired')
  keep_state(g, id, state)
  redis.call('ZREM', g.leased, id)
  redis.call('ZADD', g.ready, meta_of(id).seq, id)
end
for _, id in ipairs(redis.call('ZRANGE', g.delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, BATCH)) do
  redis.call('ZREM', g.delayed, id)
  redis.call('ZADD', g.ready, meta_of(id).seq, id)
end

local deliveries, bytes = {}, 0
for _, id in ipairs(redis.call('ZRANGE', g.ready, 0, max - 1)) do
  if bytes >= max_bytes then break end
  local state = state_of(g, id)
  state.attempt = state.attempt + 1
  state.lease = redis.call('INCR', P .. ':leases')
  keep_state(g, id, state)
  redis.call('ZREM', g.ready, id)
  redis.call('ZADD', g.leased, now + lease, id)
  local body = redis.call('HGET', BODIES, id)
  bytes = bytes + #body
  deliveries[#deliveries + 1] = {
    integer(state.lease) .. ':' .. id, id, integer(state.attempt), integer(meta_of(id).published), body,
  }
end

local due = ''
for _, set in ipairs({ g.delayed, g.leased }) do
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  if first then
    local wait = math.max(0, tonumber(first) - now)
    if due == '' or wait < due then due = wait end
  end
end
return { 'ok', due == '' and '' or integer(due), deliveries }
