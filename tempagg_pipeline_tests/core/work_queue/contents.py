"""Reads all that the queue keeps in Redis, at one moment."""

import json
from collections import Counter
from dataclasses import dataclass

from tempagg_pipeline.core.redis_connection import RedisClient

_LUA = """
local time = redis.call('TIME')
local function all(key) return redis.call('ZRANGE', '{' .. KEYS[1] .. '}:' .. key, 0, -1, 'WITHSCORES') end
local function hash(key) return redis.call('HGETALL', '{' .. KEYS[1] .. '}:' .. key) end
return {
  tostring(time[1] * 1000 + math.floor(time[2] / 1000)),
  redis.call('LRANGE', KEYS[1], 0, -1),
  redis.call('SMEMBERS', '{' .. KEYS[1] .. '}:parked'),
  hash('items'), hash('owners'), hash('letters'), hash('names'), hash('left'),
  all('waiting'), all('claimed'), all('started'), all('dead'), all('since'), all('batches'),
}
"""


@dataclass(frozen=True)
class Contents:
    """What there is; times in milliseconds from now on."""

    pushed: list[bytes]
    parked: set[str]
    items: dict[str, str]
    owners: dict[str, str]
    letters: dict[str, str]
    names: dict[str, str]
    left: dict[str, str]
    waiting: dict[str, float]
    claimed: dict[str, float]
    started: dict[str, float]
    dead: dict[str, float]
    since: dict[str, float]
    batches: dict[str, float]

    def check(self) -> None:
        """Check that every item is in exactly one place, and that what is kept about it is kept once."""
        places = (self.waiting, self.claimed, self.started)
        items = [name for place in places for name in place]
        assert len(items) == len(set(items)), "an item is in two places"
        assert set(items) == set(self.items) == set(self.since), "an item is in no place, or half forgotten"
        assert set(self.dead) == set(self.letters)
        tokens = {name: record.split(" ", 2)[2] for name, record in self.items.items()}
        leased = {name for place in (self.claimed, self.started) for name in place}
        assert leased == {name for name, token in tokens.items() if token}, "held by nobody, or waiting and held"
        assert {tokens[name] for name in leased} == set(self.batches) == set(self.owners) == set(self.names)
        assert Counter(tokens[name] for name in leased) == {token: int(count) for token, count in self.left.items()}
        assert all(name in json.loads(self.names[tokens[name]]) for name in leased)
        assert self.parked <= leased


def contents(client: RedisClient, queue: str) -> Contents:
    """All that a queue keeps."""
    now, pushed, parked, *rest = client.eval(_LUA, 1, queue)  # pyright: ignore[reportGeneralTypeIssues]
    items, owners, letters, names, left = (_pairs(reply) for reply in rest[:5])
    times = [{name: float(score) - float(now) for name, score in _pairs(reply).items()} for reply in rest[5:]]
    return Contents(pushed, {name.decode() for name in parked}, items, owners, letters, names, left, *times)


def _pairs(reply: list[bytes]) -> dict[str, str]:
    texts = [part.decode() for part in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
