"""A queue on a real server, emptied between tests, whose hours pass when a test says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tempagg_pipeline.core.redis_connection import RedisClient
from tempagg_pipeline.core.redis_server import RedisServerProgram, find_redis_servers
from tempagg_pipeline.core.settings import QueueSettings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline_tests.core.work_queue.passing_time import let_time_pass
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_server

HOUR = 3600.0
SETTINGS = QueueSettings.model_validate(
    {"lease_seconds": HOUR, "max_attempts": 3, "backoff_seconds": HOUR, "backoff_max_seconds": 4 * HOUR}
)


class TimedQueue(WorkQueue):
    """A queue without jitter, for which a test can let hours pass."""

    def __init__(self, client: RedisClient, settings: QueueSettings = SETTINGS) -> None:
        super().__init__(client, settings, jitter=0)
        self.client = client

    def pass_hours(self, hours: float) -> None:
        """Let everything that was noted down be older."""
        let_time_pass(self.client, self.name, hours * HOUR)


def _version(program: RedisServerProgram | None) -> str:
    return ".".join(map(str, program.version)) if program else "none"


@pytest.fixture(scope="session", params=list(find_redis_servers()) or [None], ids=_version)
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests of the queue; each of this machine's in turn, which differ by several versions."""
    with redis_server(Path(tmp_path_factory.mktemp("redis")), program=request.param) as server:
        yield server


@pytest.fixture
def queue(redis: RedisServer) -> Iterator[TimedQueue]:
    """An empty queue with leases and back-offs of an hour and three attempts."""
    client = redis.client()
    client.flushdb()
    yield TimedQueue(client)
    client.close()
