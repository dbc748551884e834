"""Lets time pass for a queue without waiting: every time that it has noted is put back.

The scripts run on the server's clock, in tests as in earnest. To them it makes no difference whether the clock goes on
or everything noted gets older.
"""

from tempagg_pipeline.core.redis_connection import RedisClient

_LUA = """
local ms = tonumber(ARGV[1])
for index = 1, 6 do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[index], 0, -1)) do
    redis.call('ZINCRBY', KEYS[index], -ms, member)
  end
end
local seen = redis.call('ZRANGE', KEYS[7], 0, -1, 'WITHSCORES')
redis.call('DEL', KEYS[7])
for index = 1, #seen, 2 do
  redis.call('ZADD', KEYS[7], seen[index + 1], seen[index] - ms)
end
"""
_KEYS = ("waiting", "claimed", "started", "batches", "since", "dead", "seen")


def let_time_pass(client: RedisClient, queue: str, seconds: float) -> None:
    """Make everything that the queue has noted older by some seconds."""
    client.eval(_LUA, len(_KEYS), *(f"{{{queue}}}:{key}" for key in _KEYS), seconds * 1000)
