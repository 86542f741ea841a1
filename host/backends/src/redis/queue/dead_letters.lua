-- ARGV: group, the death after which to begin, the most letters, after how many bytes to stop.
-- Answers whether there is more, then for each letter: its death, id, publication time, time of
-- death, attempts, reason, body, and its history as attempt, time and reason of each failure.
local g, limit, max_bytes = group(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local dead = redis.call('ZRANGE', g.dead, '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, limit + 1, 'WITHSCORES')
local reply, bytes = { '0' }, 0
for index = 1, #dead, 2 do
  if #reply > limit or bytes >= max_bytes then
    reply[1] = '1'
    break
  end
  local id, state = dead[index], state_of(g, dead[index])
  local body = redis.call('HGET', BODIES, id)
  bytes = bytes + #body
  local history = {}
  for _, failure in ipairs(state.history) do
    history[#history + 1] = integer(failure[1])
    history[#history + 1] = integer(failure[2])
    history[#history + 1] = failure[3]
  end
  reply[#reply + 1] = {
    dead[index + 1], id, integer(meta_of(id).published), integer(state.died), integer(state.attempt), state.reason,
    body, history,
  }
end
return reply
