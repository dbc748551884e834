"""A worker's hold on leased items: verified at the start, kept alive by a heartbeat, given up item by item."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tempagg_pipeline.core.work_queue import QueueUnavailableError, WorkQueue

_HEARTBEATS_PER_LEASE = 4


class HeldLease:
    """Items that a worker holds under one token. Safe to use from several threads.

    Attributes:
        taken: items that were still leased under the token when the worker took over, in the order asked for.
    """

    def __init__(self, queue: WorkQueue, token: str, names: Sequence[str], owner: str) -> None:
        self._queue = queue
        self._token = token
        self._owner = owner
        self._lock = threading.Lock()
        self._held = set(queue.extend(token, names))
        self.taken = [name for name in names if name in self._held]

    def begin(self, name: str) -> bool:
        """Count an attempt of an item right before work on it; false when the item was lost: leave it alone then."""
        if self._queue.start(self._token, [name], owner=self._owner):
            return True
        self._forget([name])
        return False

    def complete(self, names: Sequence[str]) -> None:
        """The items are done: they leave the queue.

        Those that meanwhile were given to another are let be, and pushed once more: a worker that was frozen for longer
        than its lease may have replaced the other's output by one of an older file. If not, the look costs little.
        """
        self._forget(names)
        completed = set(self._queue.complete(self._token, names))
        self._queue.enqueue(name for name in names if name not in completed)

    def fail(self, reasons: Mapping[str, str], *, permanent: bool) -> None:
        """The items failed, for these reasons: they are tried again later, or are dead letters at once if permanent."""
        self._forget(reasons)
        self._queue.fail(self._token, reasons, permanent=permanent)

    def beat(self) -> None:
        """Renew the lease of all items still held, and forget those that were lost."""
        held = self._still_held()
        if held:
            self._forget(set(held) - set(self._queue.extend(self._token, held)))

    def give_back(self, reason: str | None = None) -> None:
        """Give back what is still held; with a reason, work begun counts as failed."""
        held = self._still_held()
        if held:
            self._forget(held)
            self._queue.release(self._token, held, reason=reason)

    def _still_held(self) -> list[str]:
        with self._lock:
            return list(self._held)

    def _forget(self, names: Collection[str]) -> None:
        with self._lock:
            self._held.difference_update(names)


@contextmanager
def held_lease(
    queue: WorkQueue, token: str, names: Sequence[str], *, owner: str, lease_seconds: float
) -> Iterator[HeldLease]:
    """Take over leased items, keep the lease alive while the context is open, and give back what is left at its end.

    Args:
        queue: where the items are leased.
        token: of the lease.
        names: the items; those no longer leased under the token are left alone.
        owner: who works on them, for people: a run's id.
        lease_seconds: the queue's lease; the heart beats several times in it.

    Raises:
        QueueUnavailableError: the queue did not answer when the lease was to be taken over.
    """
    lease = HeldLease(queue, token, names, owner)
    with _heartbeat(lease, lease_seconds / _HEARTBEATS_PER_LEASE):
        try:
            yield lease
        except BaseException as error:
            # What can't be given back now comes back as its lease expires; what went wrong first is what matters.
            with suppress(QueueUnavailableError):
                lease.give_back(f"its worker stopped early: {type(error).__name__}")
            raise
        lease.give_back()


@contextmanager
def _heartbeat(lease: HeldLease, seconds: float) -> Iterator[None]:
    ended = threading.Event()

    def keep_alive() -> None:
        while not ended.wait(seconds):
            try:
                lease.beat()
            except QueueUnavailableError:
                # A lease outlives missed beats; if the queue stays away, its items come back by expiry.
                continue

    thread = threading.Thread(target=keep_alive, name="lease-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
