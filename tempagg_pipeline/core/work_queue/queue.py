"""A work queue that loses nothing: a Redis list that anybody may push to, and leases for whoever works on it.

A producer needs one command, ``RPUSH temperature_job temperature1.csv``, from any client. Everything else is kept in
keys ``{temperature_job}:…`` beside the list; their hash slot is the list's own, so a cluster serves them too. Each
operation is one Lua script: one atomic step, one round trip, on the server's clock.

Places
    A name that a claim has seen is an *item*, and is in exactly one place:

    - *waiting*: ready from a time on, now or after a back-off;
    - *claimed*: leased to a token, and no worker has begun;
    - *started*: leased to a token, and a worker has begun;
    - *dead*: a dead letter, with the reason.

    The only way out is ``complete`` (or ``purge``, for a dead letter). Beside these lie requests that are no items yet:
    pushes on the list that no claim has seen, and *parked* names, pushed while the same name was leased.

Rules
    - An item is leased to at most one token. A token whose lease has ended changes nothing any more.
    - A lease ends by ``complete``, ``fail``, ``release``, or its expiry. Each ``claim`` takes expired leases back
      first, so nobody has to run a janitor.
    - An attempt is counted when a worker starts an item. A started item whose worker fails or falls silent comes back
      after a back-off that doubles with each attempt, and is a dead letter after ``max_attempts``, or at once when the
      failure is permanent. A claimed item that nobody started costs no attempt; it too comes back after a back-off,
      which doubles with each such delivery, so that a broken cluster is not stormed with runs.
    - ``release`` without a reason undoes a claim: no attempt, no delivery, ready at once.
    - A name pushed twice before a claim sees it is merged when one claim sees both, else worked on twice, one after
      the other. A name pushed while it is leased is parked: after ``complete`` it goes to the end of the list; after a
      failure it is one with the redelivery; when the item becomes a dead letter, the push goes to the end of the list.
    - A name pushed while it is delayed by a back-off is ready at once; its attempts stay counted. A dead letter's name
      pushed again begins afresh, and the dead letter is gone as soon as that push is claimed.
    - What can be no file name (empty, over 1,024 bytes, not UTF-8) becomes a dead letter when a claim comes upon it.
    - A repeated ``claim`` (of the same token), ``start`` or ``extend`` changes nothing more, so a client may retry
      when a reply was lost. A repeated ``complete``, ``fail`` or ``release`` changes nothing either, but returns no
      names any more.
"""

import json
import math
import random
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tempagg_pipeline.core.redis_connection import redis_errors
from tempagg_pipeline.core.work_queue.model import (
    DeadLetter,
    GivenBack,
    Item,
    Lease,
    LeaseInfo,
    QueueStats,
)

if TYPE_CHECKING:
    from redis.commands.core import Script

    from tempagg_pipeline.core.redis_connection import RedisClient
    from tempagg_pipeline.core.settings import QueueSettings

# In the order in which scripts/common.lua takes them; the first is the list itself.
_KEY_SUFFIXES = (
    "", "waiting", "claimed", "started", "batches", "owners", "names", "left", "items", "since", "parked", "dead",
    "letters", "counters", "seen",
)  # fmt: skip
_NAMES_PER_CALL = 1000
_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}")
_JITTER = 0.5
_ALL = ""  # in place of names


class WorkQueue:
    """The queue; one object may be shared by threads.

    Every method raises QueueUnavailableError when the server does not answer as it should; what had been done by then
    is done.

    Attributes:
        name: the list's name.
    """

    def __init__(self, client: "RedisClient", settings: "QueueSettings", jitter: float = _JITTER) -> None:
        """Take a client and the rules; nothing is sent yet.

        Args:
            client: see ``redis_connection.connect``.
            settings: name, lease, attempts and back-off.
            jitter: up to which share a back-off is shortened, so that what failed together does not return together.
        """
        self.name = settings.name
        self._client = client
        self._keys = [f"{{{self.name}}}:{suffix}" if suffix else self.name for suffix in _KEY_SUFFIXES]
        self._lease_seconds = settings.lease_seconds
        self._rules = [settings.max_attempts, _ms(settings.backoff_seconds), _ms(settings.backoff_max_seconds), jitter]
        self._scripts: dict[str, Script] = {}

    def enqueue(self, names: Iterable[str]) -> int:
        """Push names to the end of the list, as any producer may; returns how many."""
        pushed = 0
        with redis_errors(f"queue {self.name}"):
            for chunk in _batched(names, _NAMES_PER_CALL):
                self._client.rpush(self.name, *chunk)
                pushed += len(chunk)
        return pushed

    def claim(
        self, limit: int, *, owner: str, lease_seconds: float | None = None, token: str | None = None
    ) -> Lease | None:
        """Lease ready items; None when there are none.

        Items that were due again come first, then pushes in their order. Expired leases are taken back before.

        Args:
            limit: most items.
            owner: who claims, for people; ``start`` may name another.
            lease_seconds: visibility timeout; default: the settings'.
            token: a token of the caller's own, new or from a claim of which it does not know whether it went through:
                that claim's items are returned then, as far as they are still held.
        """
        token = secrets.token_hex(8) if token is None else _checked(token)
        reply = self._run("claim", token, owner, max(1, limit), self._lease_ms(lease_seconds))
        items = tuple(
            Item(name, attempts, deliveries, age_ms / 1000)
            for name, attempts, deliveries, age_ms in _batched(json.loads(reply), 4)
        )
        return Lease(token, items) if items else None

    def start(self, token: str, names: Sequence[str], *, owner: str, lease_seconds: float | None = None) -> list[str]:
        """Take a lease over to work on items, right before each is worked on; counts an attempt of each.

        Args:
            token: the lease's.
            names: of its items.
            owner: who works, for instance a run's id; a dead letter names it.
            lease_seconds: how long the worker may be silent from now on; default: the settings'.

        Returns:
            Those still held. Do not work on the others: they were given to somebody else, or will be.
        """
        return self._named("start", names, token, owner, self._lease_ms(lease_seconds))

    def extend(
        self, token: str, names: Sequence[str] | None = None, *, lease_seconds: float | None = None
    ) -> list[str]:
        """Renew leases from now on (a heartbeat), of all that the token holds by default; never shortens one.

        Returns:
            Those still held.
        """
        if names is None:
            return json.loads(self._run("extend", token, self._lease_ms(lease_seconds), _ALL))
        return self._named("extend", names, token, self._lease_ms(lease_seconds))

    def complete(self, token: str, names: Sequence[str]) -> list[str]:
        """Items are done and leave the queue.

        Returns:
            Those that were the token's. Another's work on the rest goes on or is still to come.
        """
        return self._named("complete", names, token)

    def fail(self, token: str, failures: Mapping[str, str], *, permanent: bool = False) -> GivenBack:
        """An attempt of each item failed.

        Args:
            token: the lease's.
            failures: reason by name; one line for people.
            permanent: no other attempt can mend it: dead letters at once.

        Returns:
            What became of those that were the token's.
        """
        result = GivenBack([], [])
        for chunk in _batched(failures.items(), _NAMES_PER_CALL):
            _add(result, self._run("fail", token, int(permanent), _json(chunk)))
        return result

    def release(self, token: str, names: Sequence[str] | None = None, *, reason: str | None = None) -> GivenBack:
        """Give items back, all that the token holds by default.

        Args:
            token: the lease's.
            names: of its items.
            reason: None undoes the claim (an orderly stop). Else why the holder is gone: it counts as a failure of the
                items that were started, and as a delivery in vain of the others.

        Returns:
            What became of those that were the token's.
        """
        result = GivenBack([], [])
        if names is None:
            _add(result, self._run("release", token, reason or "", _ALL))
            return result
        for chunk in _batched(names, _NAMES_PER_CALL):
            _add(result, self._run("release", token, reason or "", _json(chunk)))
        return result

    def reclaim_expired(self) -> int:
        """Take expired leases back, as every claim does; returns how many."""
        total = 0
        while count := self._run("reclaim"):
            total += count
        return total

    def stats(self) -> QueueStats:
        """How many items are where."""
        *counts, oldest_ms = self._run("stats")
        return QueueStats(*counts, oldest_seconds=max(0, oldest_ms) / 1000)

    def leases(self, limit: int = 1000) -> list[LeaseInfo]:
        """The tokens that hold items, oldest claim first."""
        now, *rows = self._run("leases", limit)
        return [
            LeaseInfo(_text(token), _text(owner), names, started, (now - claimed) / 1000, (expiry - now) / 1000)
            for token, owner, names, started, claimed, expiry in rows
        ]

    def peek(self, limit: int = 100) -> list[str]:
        """Names that come next, in order, without claiming them."""
        return [name.decode(errors="backslashreplace") for name in self._run("peek", limit)]

    def dead_letters(self, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Dead letters, newest first."""
        rows = self._run("dead", offset, limit)
        return [_letter(name, died_ms, letter) for name, died_ms, letter in _batched(rows, 3)]

    def requeue(self, names: Sequence[str] | None = None) -> int:
        """Put dead letters back on the list, all by default, to be worked on afresh; returns how many."""
        return self._each_letter("requeue", names)

    def purge(self, names: Sequence[str] | None = None) -> int:
        """Throw dead letters away, all by default; returns how many."""
        return self._each_letter("purge", names)

    def _each_letter(self, operation: str, names: Sequence[str] | None) -> int:
        if names is not None:
            return len(self._named(operation, names, "-inf", 0))
        total, now = 0, self._run("now")  # those that die from now on are not meant
        while done := json.loads(self._run(operation, now, _NAMES_PER_CALL, _ALL)):
            total += len(done)
        return total

    def _named(self, operation: str, names: Sequence[str], *arguments: Any) -> list[str]:
        """Run a script that takes names and returns names."""
        result: list[str] = []
        for chunk in _batched(names, _NAMES_PER_CALL):
            result.extend(json.loads(self._run(operation, *arguments, _json(chunk))))
        return result

    def _lease_ms(self, seconds: float | None) -> int:
        return _ms(self._lease_seconds if seconds is None else seconds)

    def _run(self, operation: str, *arguments: Any) -> Any:
        with redis_errors(f"queue {self.name}"):
            script = self._scripts.get(operation)
            if script is None:
                script = self._scripts[operation] = self._client.register_script(_source(operation))
            spread = random.random()  # noqa: S311 - spreads delays, guards nothing
            return script(self._keys, [*self._rules, spread, *arguments])


@cache
def _source(operation: str) -> str:
    scripts = Path(__file__).with_name("scripts")
    return "\n".join((scripts / f"{name}.lua").read_text("utf-8") for name in ("common", operation))


def _batched(values: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    rest = iter(values)
    while chunk := tuple(islice(rest, size)):
        yield chunk


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"expected a token of 1 to 64 letters, digits, - and _, found {token!r}")
    return token


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _json(values: Iterable[Any]) -> bytes:
    # A text from a foreign error may have surrogates, which are no UTF-8.
    return json.dumps(list(values), ensure_ascii=False).encode(errors="backslashreplace")


def _add(result: GivenBack, reply: Sequence[bytes]) -> None:
    waiting, dead = reply
    result.waiting.extend(json.loads(waiting))
    result.dead.extend(json.loads(dead))


def _letter(name: bytes, died_ms: int, letter: bytes) -> DeadLetter:
    fields = json.loads(letter)
    return DeadLetter(
        name=name.decode(),
        reason=fields["reason"],
        attempts=fields["attempts"],
        owner=fields["owner"],
        died=_moment(died_ms),
        first_seen=_moment(fields["since"]),
    )


def _moment(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
