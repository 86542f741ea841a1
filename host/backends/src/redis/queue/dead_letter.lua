-- ARGV: group, id, `replay` or `delete`. Answers 1, or 0 if there is no such dead letter.
local g, id = group(ARGV[1]), ARGV[2]
if redis.call('ZREM', g.dead, id) == 0 then return 0 end
if ARGV[3] == 'replay' then
  redis.call('HDEL', g.state, id)
  enter(g, id, meta_of(id), milliseconds())
else
  forget(g, id)
end
return 1
