"""Opens the work queue for a command: the configured server, or the embedded one, started if it does not run."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempagg_pipeline.core.work_queue import WorkQueue


@contextmanager
def queue_session() -> "Iterator[WorkQueue]":
    """The queue that the settings name, while the context is open.

    Raises:
        QueueUnavailableError: the server does not answer.
        EmbeddedRedisError: the embedded server does not start.
    """
    from tempagg_pipeline.core.embedded_redis import embedded_redis
    from tempagg_pipeline.core.redis_connection import connect
    from tempagg_pipeline.core.settings import settings
    from tempagg_pipeline.core.work_queue import WorkQueue

    with embedded_redis(settings().redis) as redis, closing(connect(redis)) as client:
        yield WorkQueue(client, settings().queue)
