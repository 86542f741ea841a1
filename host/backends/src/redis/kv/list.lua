-- ARGV: start and end in the order of the listing (as ZRANGE BYLEX takes them), whether it is
-- reversed, the most entries, and after how many bytes the page ends.
-- Answers whether there is more, then key, version and value of each entry.
local from, to, reverse = ARGV[1], ARGV[2], ARGV[3] == '1'
local limit, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local BATCH = 128
local now = milliseconds()
local reply, expired, bytes, more = { '0' }, {}, 0, false

repeat
  local keys
  if reverse then
    keys = redis.call('ZRANGE', INDEX, from, to, 'BYLEX', 'REV', 'LIMIT', 0, BATCH)
  else
    keys = redis.call('ZRANGE', INDEX, from, to, 'BYLEX', 'LIMIT', 0, BATCH)
  end
  for _, key in ipairs(keys) do
    local entry = read(key, now)
    if not entry then
      expired[#expired + 1] = key
    elseif #reply > limit * 3 or bytes >= max_bytes then
      more = true
      break
    else
      reply[#reply + 1] = key
      reply[#reply + 1] = entry.version
      reply[#reply + 1] = entry.value
      bytes = bytes + #key + #entry.value
    end
  end
  if #keys > 0 then from = '(' .. keys[#keys] end
until more or #keys < BATCH

-- So that the next listing does not pass over them again.
for _, key in ipairs(expired) do remove(key) end
if more then reply[1] = '1' end
return reply
