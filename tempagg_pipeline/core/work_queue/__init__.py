"""The leased work queue on Redis: see ``queue.py`` for its rules."""

from tempagg_pipeline.core.redis_connection import QueueUnavailableError
from tempagg_pipeline.core.work_queue.model import (
    DeadLetter,
    GivenBack,
    Item,
    Lease,
    LeaseInfo,
    QueueStats,
)
from tempagg_pipeline.core.work_queue.queue import WorkQueue

__all__ = [
    "DeadLetter",
    "GivenBack",
    "Item",
    "Lease",
    "LeaseInfo",
    "QueueStats",
    "QueueUnavailableError",
    "WorkQueue",
]
