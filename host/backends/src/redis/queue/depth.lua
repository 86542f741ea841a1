-- ARGV: group. Answers ready, delayed, leased, dead, and when the oldest was published ('' for none).
-- What is due counts as ready, whether or not a receiver moved it already.
local g = group(ARGV[1])
local now = integer(milliseconds())
local all, ready = redis.call('ZCARD', g.all), redis.call('ZCARD', g.ready)
local leased = redis.call('ZCOUNT', g.leased, '(' .. now, '+inf')
ready = ready + redis.call('ZCOUNT', g.delayed, '-inf', now) + redis.call('ZCOUNT', g.leased, '-inf', now)
local oldest = redis.call('ZRANGE', g.all, 0, 0)[1]
return {
  integer(ready), integer(all - ready - leased), integer(leased), integer(redis.call('ZCARD', g.dead)),
  oldest and integer(meta_of(oldest).published) or '',
}
