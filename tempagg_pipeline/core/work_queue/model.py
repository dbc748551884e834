"""What the work queue tells: plain values, no Redis."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Item:
    """One file name of a lease."""

    name: str
    attempts: int
    """Attempts begun before this delivery."""
    deliveries: int
    """How often it has been claimed, this time included."""
    age_seconds: float
    """Since it was first seen on the queue. A push carries no time: this is short by the time until that look."""


@dataclass(frozen=True)
class Lease:
    """Items that one owner has claimed together."""

    token: str
    """Proves the hold; every later operation on these items needs it."""
    items: tuple[Item, ...]

    @property
    def names(self) -> list[str]:
        """The items' names."""
        return [item.name for item in self.items]


@dataclass(frozen=True)
class LeaseInfo:
    """A token that holds items now."""

    token: str
    owner: str
    """Who claimed, or who has started work since."""
    names: int
    started: int
    """Of those names, how many a worker has begun."""
    age_seconds: float
    """Since the claim."""
    expires_in_seconds: float
    """Until the first of its items' leases ends; negative when that is over and nobody has taken it back yet."""


@dataclass(frozen=True)
class GivenBack:
    """What became of items that failed or were released."""

    waiting: list[str]
    """Ready again, now or after a delay."""
    dead: list[str]
    """Dead letters now."""


@dataclass(frozen=True)
class DeadLetter:
    """An item that is not tried any more until somebody asks for it."""

    name: str
    reason: str
    attempts: int
    owner: str
    """Who held it last, for instance a run's id."""
    died: datetime
    first_seen: datetime


@dataclass(frozen=True)
class QueueStats:
    """How many items are where, at one moment."""

    ready: int
    """To be had now; a name that was pushed twice counts twice until a claim sees it."""
    delayed: int
    """Wait for the end of their back-off."""
    claimed: int
    """Leased, and no worker has begun."""
    started: int
    """Leased, and a worker has begun."""
    parked: int
    """Names that were pushed while they were leased: their next round."""
    dead: int
    completed: int
    """Since the queue was made."""
    oldest_seconds: float
    """Age of the oldest item that is not done, leased ones included; 0 when there is none."""

    @property
    def leased(self) -> int:
        """Items under a lease."""
        return self.claimed + self.started

    @property
    def unfinished(self) -> int:
        """Items that will still be worked on without anybody's doing; 0: the queue is drained."""
        return self.ready + self.delayed + self.leased + self.parked
