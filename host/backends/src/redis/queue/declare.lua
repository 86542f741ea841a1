-- ARGV: the subscriptions as JSON, then the names of their groups.
for index = 2, #ARGV do redis.call('SADD', P .. ':groups', ARGV[index]) end
if redis.call('GET', P .. ':declared') ~= ARGV[1] then
  redis.call('SET', P .. ':declared', ARGV[1])
  redis.call('INCR', P .. ':declaration')
end
return redis.call('GET', P .. ':declaration')
