"""The queue's rules as a plain Python model: an executable specification, in whole hours and without any Redis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_ATTEMPTS = 3
BACKOFF_MAX_HOURS = 4
LEASE_EXPIRED = "lease expired"
JUNK = {
    b"": "(no file name) empty",
    b"\xff": "(no file name) \\xff",
    b"(no file name) empty": "(no file name) empty",
    b"(no file name) \\xff": "(no file name) \\xff",
}
"""What can't be a file name, and what its dead letter is called."""


@dataclass
class ModelItem:
    """A name that a claim has seen."""

    place: str
    """``waiting``, ``claimed`` or ``started``."""
    hour: int
    """When it is ready, or when its lease ends."""
    token: str = ""
    attempts: int = 0
    deliveries: int = 0


@dataclass
class ModelQueue:
    """Where everything is."""

    now: int = 0
    pushed: list[bytes] = field(default_factory=list)
    items: dict[str, ModelItem] = field(default_factory=dict)
    parked: set[str] = field(default_factory=set)
    dead: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    """Reason, attempts, owner."""
    owners: dict[str, str] = field(default_factory=dict)
    completed: int = 0

    def held(self, token: str, names: Sequence[str] | None = None) -> list[str]:
        """Those of the names, or of all, that the token holds."""
        candidates = self.items if names is None else dict.fromkeys(names)
        return [name for name in candidates if name in self.items and self.items[name].token == token]

    def due(self) -> dict[str, int]:
        """Waiting items that are ready, with the hour since when."""
        return {
            name: item.hour for name, item in self.items.items() if item.place == "waiting" and item.hour <= self.now
        }

    def claim(self, token: str, owner: str, limit: int, hours: int, due_taken: Sequence[str]) -> list[str]:
        """Lease; which of the items that are due were taken is the queue's choice where their hours are the same."""
        taken = list(due_taken)
        while len(taken) < limit and self.pushed:
            raw = self.pushed.pop(0)
            if raw in JUNK:
                self.dead[JUNK[raw]] = ("expected a file name", 0, owner)
                continue
            name = raw.decode()
            item = self.items.get(name)
            if name in taken:
                continue
            if item and item.token:
                self.parked.add(name)
                continue
            if not item:
                self.items[name] = ModelItem("waiting", self.now)
                self.dead.pop(name, None)
            taken.append(name)
        for name in taken:
            item = self.items[name]
            item.place, item.hour, item.token = "claimed", self.now + hours, token
            item.deliveries += 1
        if taken:
            self.owners[token] = owner
        return taken

    def start(self, token: str, names: Sequence[str], owner: str, hours: int) -> list[str]:
        """Begin work."""
        held = self.held(token, names)
        for name in held:
            item = self.items[name]
            item.attempts += item.place == "claimed"
            item.place, item.hour = "started", self.now + hours
        if held:
            self.owners[token] = owner
        return held

    def extend(self, token: str, names: Sequence[str] | None, hours: int) -> list[str]:
        """Renew leases."""
        held = self.held(token, names)
        for name in held:
            self.items[name].hour = max(self.items[name].hour, self.now + hours)
        return held

    def complete(self, token: str, names: Sequence[str]) -> list[str]:
        """Done."""
        held = self.held(token, names)
        for name in held:
            del self.items[name]
            self._push_parked(name)
        self.completed += len(held)
        return held

    def fail(self, token: str, failures: Mapping[str, str], permanent: bool) -> tuple[list[str], list[str]]:
        """An attempt failed; returns what waits and what is dead."""
        waiting, dead = [], []
        for name in self.held(token, list(failures)):
            item = self.items[name]
            item.attempts += item.place == "claimed"
            if permanent or item.attempts >= MAX_ATTEMPTS:
                self._bury(name, failures[name])
                dead.append(name)
            else:
                self._give_back(name, backoff(item.attempts))
                waiting.append(name)
        return waiting, dead

    def release(self, token: str, names: Sequence[str] | None, reason: str | None) -> tuple[list[str], list[str]]:
        """Give back; returns what waits and what is dead."""
        waiting, dead = [], []
        for name in self.held(token, names):
            item = self.items[name]
            if reason is None:
                item.attempts -= item.place == "started"
                item.deliveries -= 1
                self._give_back(name, 0)
                waiting.append(name)
            else:
                (dead if self._end_badly(name, reason) else waiting).append(name)
        return waiting, dead

    def reclaim(self) -> int:
        """End leases whose time is over."""
        expired = [name for name, item in self.items.items() if item.token and item.hour <= self.now]
        for name in expired:
            self._end_badly(name, LEASE_EXPIRED)
        return len(expired)

    def requeue(self, names: Sequence[str] | None) -> list[str]:
        """Dead letters begin afresh."""
        chosen = self._purge(names)
        self.pushed += [name.encode() for name in chosen]
        return chosen

    def purge(self, names: Sequence[str] | None) -> list[str]:
        """Dead letters are thrown away."""
        return self._purge(names)

    def _purge(self, names: Sequence[str] | None) -> list[str]:
        chosen = [name for name in (list(self.dead) if names is None else dict.fromkeys(names)) if name in self.dead]
        for name in chosen:
            del self.dead[name]
        return chosen

    def _end_badly(self, name: str, reason: str) -> bool:
        item = self.items[name]
        if item.place == "claimed":
            self._give_back(name, backoff(item.deliveries - item.attempts))
            return False
        if item.attempts >= MAX_ATTEMPTS:
            self._bury(name, reason)
            return True
        self._give_back(name, backoff(item.attempts))
        return False

    def _give_back(self, name: str, hours: int) -> None:
        item = self.items[name]
        item.place, item.hour, item.token = "waiting", self.now + hours, ""
        self.parked.discard(name)

    def _bury(self, name: str, reason: str) -> None:
        item = self.items.pop(name)
        self.dead[name] = (reason, item.attempts, self.owners[item.token])
        self._push_parked(name)

    def _push_parked(self, name: str) -> None:
        if name in self.parked:
            self.parked.remove(name)
            self.pushed.append(name.encode())


def backoff(failures: int) -> int:
    """Hours until the next delivery."""
    return min(BACKOFF_MAX_HOURS, 2 ** (failures - 1))
