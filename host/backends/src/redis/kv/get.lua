-- ARGV: the key.
local entry = read(ARGV[1], milliseconds())
if not entry then return false end
return { entry.version, entry.value }
