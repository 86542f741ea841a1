-- The queues of one namespace. A message is kept once (meta, body, and in `refs` how many groups
-- hold it); each group has the ids it holds in sorted sets:
--   all      every live one, by publication
--   ready    deliverable, by publication
--   delayed  by when it becomes ready
--   leased   by when its lease ends
--   dead     dead letters, by death
-- and `state`: attempts, lease and history of those that were received. Of an ordering key's
-- messages only the first is in ready, delayed or leased; its list (the lane) has them all.
-- A group in the set `paused` gives receivers nothing.
local P = KEYS[1]
local META, BODIES, REFS = P .. ':meta', P .. ':bodies', P .. ':refs'
local HISTORY = 16

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function integer(number)
  return string.format('%.0f', number)
end

local function group(name)
  local prefix = P .. ':group:' .. name .. ':'
  return {
    name = name,
    all = prefix .. 'all',
    ready = prefix .. 'ready',
    delayed = prefix .. 'delayed',
    leased = prefix .. 'leased',
    dead = prefix .. 'dead',
    state = prefix .. 'state',
    lanes = prefix .. 'lane:',
  }
end

local function meta_of(id)
  return cmsgpack.unpack(redis.call('HGET', META, id))
end

local function state_of(g, id)
  local packed = redis.call('HGET', g.state, id)
  if packed then return cmsgpack.unpack(packed) end
  return { attempt = 0, lease = 0, history = {} }
end

local function keep_state(g, id, state)
  redis.call('HSET', g.state, id, cmsgpack.pack(state))
end

-- Makes a message deliverable, at once or when it is due, and tells waiting receivers.
local function activate(g, id, meta, due, now)
  if due > now then
    redis.call('ZADD', g.delayed, due, id)
  else
    redis.call('ZADD', g.ready, meta.seq, id)
  end
  redis.call('PUBLISH', P .. ':wake', g.name)
end

-- Takes a message into a group, behind those of its ordering key.
local function enter(g, id, meta, now)
  redis.call('ZADD', g.all, meta.seq, id)
  if meta.lane == '' or redis.call('RPUSH', g.lanes .. meta.lane, id) == 1 then
    activate(g, id, meta, meta.due, now)
  end
end

-- Takes a message that is neither ready nor delayed out of the group's live ones and, if it was the
-- first of its ordering key, lets the next through.
local function leave(g, id, meta, now)
  redis.call('ZREM', g.leased, id)
  redis.call('ZREM', g.all, id)
  if meta.lane == '' then return end
  local lane = g.lanes .. meta.lane
  local first = redis.call('LINDEX', lane, 0)
  redis.call('LREM', lane, 1, id)
  if first ~= id then return end
  local following = redis.call('LINDEX', lane, 0)
  if following then
    local following_meta = meta_of(following)
    activate(g, following, following_meta, following_meta.due, now)
  end
end

-- Drops what a group keeps of a message, and the message with the last group.
local function forget(g, id)
  redis.call('HDEL', g.state, id)
  if redis.call('HINCRBY', REFS, id, -1) <= 0 then
    redis.call('HDEL', REFS, id)
    redis.call('HDEL', META, id)
    redis.call('HDEL', BODIES, id)
  end
end

-- Takes a dead letter out: to be delivered again (`replay`), or for good.
local function undie(g, id, verb, now)
  redis.call('ZREM', g.dead, id)
  if verb == 'replay' then
    redis.call('HDEL', g.state, id)
    enter(g, id, meta_of(id), now)
  else
    forget(g, id)
  end
end

local function fail(state, at, reason)
  local history = state.history
  history[#history + 1] = { state.attempt, at, reason }
  while #history > HISTORY do table.remove(history, 1) end
  state.lease = 0
end

-- The message that a receipt holds, with its state; nil if its lease ended or was settled.
local function held(g, receipt, now)
  local lease, id = string.match(receipt, '^(%d+):(.+)$')
  if not id then return nil end
  local ends = redis.call('ZSCORE', g.leased, id)
  if not ends or tonumber(ends) <= now then return nil end
  local state = state_of(g, id)
  if integer(state.lease) ~= lease then return nil end
  return id, state
end

