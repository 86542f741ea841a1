-- Answers the subscriptions as JSON, and for each group, declared now or before: its name and
-- whether it is paused.
local groups = {}
for _, name in ipairs(redis.call('SMEMBERS', P .. ':groups')) do
  groups[#groups + 1] = { name, integer(redis.call('SISMEMBER', P .. ':paused', name)) }
end
return { redis.call('GET', P .. ':declared') or '[]', groups }
