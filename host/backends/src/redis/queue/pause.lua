-- ARGV: group, `pause` or `resume`. Answers 1, or 0 for a group that was never declared.
local name = ARGV[1]
if redis.call('SISMEMBER', P .. ':groups', name) == 0 then return 0 end
if ARGV[2] == 'pause' then
  redis.call('SADD', P .. ':paused', name)
else
  redis.call('SREM', P .. ':paused', name)
  redis.call('PUBLISH', P .. ':wake', name)
end
return 1
