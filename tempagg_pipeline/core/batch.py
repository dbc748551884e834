"""Processes many locations with a few threads; one location's failure is its own and stops no other."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.locations import InvalidNameError
from tempagg_pipeline.core.object_store import ObjectNotFoundError
from tempagg_pipeline.core.processing import Processed

_T = TypeVar("_T")


@dataclass(frozen=True)
class Unchanged:
    """Neither the raw object nor its output has changed since it was processed last."""

    location: str


@dataclass(frozen=True)
class Failed:
    """A location that could not be processed."""

    location: str
    error: Exception

    @property
    def is_permanent(self) -> bool:
        """Whether no other attempt can mend it: the data itself is wrong, or is not there."""
        return isinstance(self.error, InvalidInputError | InvalidNameError | ObjectNotFoundError)

    @property
    def reason(self) -> str:
        """One line for people."""
        if isinstance(self.error, InvalidInputError | OSError | InvalidNameError):
            return str(self.error)
        return f"{self.location}: {type(self.error).__name__}: {self.error}"


Outcome = Processed | Unchanged | Failed


def process_all(
    locations: Iterable[str], process: Callable[[str], Processed | None], threads: int
) -> Iterator[Outcome]:
    """Process each location and yield outcomes as they come, in no order.

    At most twice ``threads`` locations are taken ahead of the consumer, so that memory does not grow with their number.

    Args:
        locations: keys, taken one by one.
        process: does one; None says that nothing has changed.
        threads: how many at a time; the work is mostly waiting for the store and numpy without the interpreter's lock.
    """

    def outcome(location: str) -> Outcome:
        try:
            return process(location) or Unchanged(location)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this location and is handed on
            return Failed(location, error)

    waiting: set[Future[Outcome]] = set()
    with ThreadPoolExecutor(threads, thread_name_prefix="location") as pool:
        try:
            for location in locations:
                waiting.add(pool.submit(outcome, location))
                if len(waiting) >= 2 * threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in waiting:
                future.cancel()


def in_batches(items: Iterable[_T], size: int, seconds: float) -> Iterator[list[_T]]:
    """Gather items: up to ``size``, or what came within ``seconds`` of the batch's first where items come slowly."""
    batch: list[_T] = []
    started = 0.0
    for item in items:
        if not batch:
            started = time.monotonic()
        batch.append(item)
        if len(batch) >= size or time.monotonic() - started > seconds:
            yield batch
            batch = []
    if batch:
        yield batch
