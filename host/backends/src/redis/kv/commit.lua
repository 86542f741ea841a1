-- ARGV: how many checks, how many operations; for each check its key and version ('' for absence);
-- for each operation its kind and arguments: s key value time-to-live ('' for none), d key,
-- a key delta.
-- A script is not rolled back when it fails: everything is decided before the first write.
local SWEEP = 256
local now = milliseconds()
local at = 2

local function argument()
  at = at + 1
  return ARGV[at]
end

for _ = 1, tonumber(ARGV[1]) do
  local entry, version = read(argument(), now), argument()
  if (entry and entry.version or '') ~= version then return { 'conflict' } end
end

-- The entries as the operations leave them (false: none), and their keys in order.
local entries, written = {}, {}

local function look(key)
  if entries[key] == nil then
    entries[key] = read(key, now) or false
    written[#written + 1] = key
  end
  return entries[key]
end

local EXACT = 999999999999999

-- The sum as decimal text, or nil and why not. Small numbers are exact in Lua's doubles; for others
-- the server's own 64-bit arithmetic is borrowed.
local function add(current, delta)
  local sign, digits = string.match(current, '^([+-]?)0*(%d+)$')
  if not digits then return nil, 'the entry is not a counter' end
  if sign == '+' or digits == '0' then sign = '' end
  local left, right = tonumber(sign .. digits), tonumber(delta)
  if math.abs(left) <= EXACT and math.abs(right) <= EXACT then return string.format('%.0f', left + right) end
  redis.call('SET', SCRATCH, sign .. digits)
  local result = redis.pcall('INCRBY', SCRATCH, delta)
  local sum = redis.call('GET', SCRATCH)
  redis.call('DEL', SCRATCH)
  if type(result) == 'table' and result.err then
    if string.find(result.err, 'overflow', 1, true) then return nil, 'the counter would leave 64 bits' end
    return nil, 'the entry is not a counter'
  end
  return sum
end

for _ = 1, tonumber(ARGV[2]) do
  local kind, key = argument(), argument()
  local entry = look(key)
  if kind == 's' then
    local value, time_to_live = argument(), argument()
    entries[key] = { value = value, expiry = time_to_live == '' and 0 or now + tonumber(time_to_live) }
  elseif kind == 'd' then
    entries[key] = false
  else
    local sum, problem = add(entry and entry.value or '0', argument())
    if not sum then return { 'invalid', problem } end
    entries[key] = { value = sum, expiry = entry and entry.expiry or 0 }
  end
end

local version = string.format('%.0f', redis.call('INCR', VERSION))
for _, key in ipairs(written) do
  local entry = entries[key]
  if entry then
    redis.call('HSET', ENTRIES, key, version .. ':' .. string.format('%.0f', entry.expiry) .. ':' .. entry.value)
    redis.call('ZADD', INDEX, 0, key)
    if entry.expiry == 0 then
      redis.call('ZREM', EXPIRY, key)
    else
      redis.call('ZADD', EXPIRY, entry.expiry, key)
    end
  else
    remove(key)
  end
end

-- A commit sweeps more expired entries than it can write, so that they do not pile up.
for _, key in ipairs(redis.call('ZRANGE', EXPIRY, '-inf', now, 'BYSCORE', 'LIMIT', 0, SWEEP)) do remove(key) end
return { 'ok', version }
