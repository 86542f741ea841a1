-- ARGV: group, `replay` or `delete`, the death after which to begin, the last death ('' for the
-- latest), how many letters to change.
-- Answers `not found`; or how many it changed, the death after which to go on ('' at the end), and
-- the last death.
local g, verb, limit = group(ARGV[1]), ARGV[2], tonumber(ARGV[5])
if redis.call('SISMEMBER', P .. ':groups', g.name) == 0 then return { 'not found' } end
local last = ARGV[4] == '' and (redis.call('GET', P .. ':deaths') or '0') or ARGV[4]
local now, after = milliseconds(), ''
local dead = redis.call('ZRANGE', g.dead, '(' .. ARGV[3], last, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
for index = 1, #dead, 2 do
  after = integer(tonumber(dead[index + 1]))
  undie(g, dead[index], verb, now)
end
if #dead < 2 * limit then after = '' end
return { 'ok', integer(#dead / 2), after, last }
