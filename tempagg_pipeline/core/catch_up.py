"""Which files to put on the queue to catch up: those without an up-to-date result that no one has given up on."""

from collections.abc import Iterator
from datetime import timedelta

from tempagg_pipeline.core.inventory import Inventory
from tempagg_pipeline.core.locations import raw_name
from tempagg_pipeline.core.work_queue import DeadLetter, WorkQueue

_LETTERS_AT_ONCE = 1000
_CLOCKS_DIFFER_BY = timedelta(minutes=1)
"""The store's clock, which may tell whole seconds, is not the queue's. A file that changed at about the time of its
death gets another attempt: rather one in vain than none."""


def files_to_catch_up(inventory: Inventory, queue: WorkQueue) -> list[str]:
    """Raw files newer than their hourly file, or without one, by name.

    A dead letter is left alone while its raw file is the one that failed: another attempt would end the same way.

    Raises:
        QueueUnavailableError: the queue did not answer.
    """
    given_up = {letter.name: letter for letter in _dead_letters(queue)}

    def is_given_up(location: str) -> bool:
        letter, modified = given_up.get(raw_name(location)), inventory.raw[location].modified
        return letter is not None and (modified is None or modified < letter.died - _CLOCKS_DIFFER_BY)

    return [raw_name(location) for location in inventory.stale if not is_given_up(location)]


def _dead_letters(queue: WorkQueue) -> Iterator[DeadLetter]:
    offset = 0
    while page := queue.dead_letters(offset, _LETTERS_AT_ONCE):
        yield from page
        offset += len(page)
