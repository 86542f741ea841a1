-- ARGV: the number of the declaration that the publisher matched the queue against, message id,
-- queue, deduplication id, ordering key, not-before (or ''), body, window in milliseconds; then
-- name and depth limit of each subscribed group.
local declaration, id, queue, deduplication = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ordering_key, not_before, body, window = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local current = redis.call('GET', P .. ':declaration') or '0'
if current ~= declaration then return { 'stale', current, redis.call('GET', P .. ':declared') or '[]' } end

local id_key, deduplication_key = P .. ':id:' .. id, P .. ':deduplication:' .. queue .. ':' .. deduplication
-- An id is also taken while its message is still held, however old.
if redis.call('EXISTS', id_key) == 1 or redis.call('HEXISTS', META, id) == 1 then return { 'ok', id } end
if deduplication ~= '' then
  local first = redis.call('GET', deduplication_key)
  if first then return { 'ok', first } end
end

if #ARGV == 8 then return { 'not found' } end
for index = 9, #ARGV, 2 do
  local limit = tonumber(ARGV[index + 1])
  if redis.call('ZCARD', group(ARGV[index]).all) >= limit then return { 'full', ARGV[index] } end
end

local now = milliseconds()
local meta = {
  seq = redis.call('INCR', P .. ':seq'),
  lane = ordering_key == '' and '' or queue .. ':' .. ordering_key,
  due = not_before == '' and 0 or tonumber(not_before),
  published = now,
}
redis.call('HSET', META, id, cmsgpack.pack(meta))
redis.call('HSET', BODIES, id, body)
redis.call('HSET', REFS, id, (#ARGV - 8) / 2)
redis.call('SET', id_key, '', 'PX', window)
if deduplication ~= '' then redis.call('SET', deduplication_key, id, 'PX', window) end
for index = 9, #ARGV, 2 do enter(group(ARGV[index]), id, meta, now) end
return { 'ok', id }
