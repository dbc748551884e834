"""A site for each test: the instance and the servers are shared, queue and store are the test's own."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from redis import Redis

from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline_tests.orchestration.fan_out.site import Site
from tempagg_pipeline_tests.orchestration.workplaces import Workplace
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_server


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="package")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance in SQLite; tests use locations of their own."""
    with dg.instance_for_test(temp_dir=str(tmp_path_factory.mktemp("home")), set_dagster_home=False) as instance:
        yield instance


@pytest.fixture
def site(
    instance: dg.DagsterInstance, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """An empty queue, an empty local store, an instance that other tests use too."""
    env = {"TEMPAGG_LOCAL_ROOT": str(tmp_path), "TEMPAGG_SENSOR_WAIT_SECONDS": "0", **redis.env}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    with Redis(port=redis.port, password=redis.password) as producer:
        producer.flushdb()
        with redis.client() as client:
            yield Site(Workplace(instance, env), redis, producer, WorkQueue(client, settings().queue))
