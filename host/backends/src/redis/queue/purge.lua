-- ARGV: group, the number after which to begin, the last number ('' for the latest), how many
-- messages to look at.
-- Answers `not found`; or how many messages it deleted, none of them leased, the number after which
-- to go on ('' at the end), and the last number.
local g, scan = group(ARGV[1]), tonumber(ARGV[4])
if redis.call('SISMEMBER', P .. ':groups', g.name) == 0 then return { 'not found' } end
local last = ARGV[3] == '' and (redis.call('GET', P .. ':seq') or '0') or ARGV[3]
local now, done, after = milliseconds(), 0, ''
local all = redis.call('ZRANGE', g.all, '(' .. ARGV[2], last, 'BYSCORE', 'LIMIT', 0, scan, 'WITHSCORES')
for index = 1, #all, 2 do
  local id = all[index]
  after = integer(tonumber(all[index + 1]))
  local ends = redis.call('ZSCORE', g.leased, id)
  if not ends or tonumber(ends) <= now then
    redis.call('ZREM', g.ready, id)
    redis.call('ZREM', g.delayed, id)
    leave(g, id, meta_of(id), now)
    forget(g, id)
    done = done + 1
  end
end
if #all < 2 * scan then after = '' end
return { 'ok', integer(done), after, last }
