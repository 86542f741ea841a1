-- ARGV: group, id, `replay` or `delete`. Answers 1, or 0 if there is no such dead letter.
local g, id = group(ARGV[1]), ARGV[2]
if not redis.call('ZSCORE', g.dead, id) then return 0 end
undie(g, id, ARGV[3], milliseconds())
return 1
