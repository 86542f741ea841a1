-- One label's entries. An entry is `<version>:<expiry>:<value>`, its expiry in milliseconds since
-- 1970 by the server's clock, or 0. The index has every key with score 0, so that it sorts by bytes;
-- the expiry set has those that expire, by time.
local ENTRIES, INDEX, EXPIRY, VERSION, SCRATCH = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The entry as everyone sees it: an expired one is not there, whether or not it is swept already.
local function read(key, now)
  local raw = redis.call('HGET', ENTRIES, key)
  if not raw then return nil end
  local version, expiry, start = string.match(raw, '^(%d+):(%d+):()')
  expiry = tonumber(expiry)
  if expiry ~= 0 and expiry <= now then return nil end
  return { version = version, expiry = expiry, value = string.sub(raw, start) }
end

local function remove(key)
  redis.call('HDEL', ENTRIES, key)
  redis.call('ZREM', INDEX, key)
  redis.call('ZREM', EXPIRY, key)
end

