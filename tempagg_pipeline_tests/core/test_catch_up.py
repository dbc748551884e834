"""Which files are put on the queue to catch up."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tempagg_pipeline.core.catch_up import files_to_catch_up
from tempagg_pipeline.core.inventory import Inventory
from tempagg_pipeline.core.object_store import ObjectInfo
from tempagg_pipeline.core.settings import QueueSettings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_server

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def queue(redis: RedisServer) -> Iterator[WorkQueue]:
    with redis.client() as client:
        client.flushdb()
        yield WorkQueue(client, QueueSettings.model_validate({}))


def inventory(raw: dict[str, datetime | None], hourly: dict[str, datetime | None] | None = None) -> Inventory:
    """A container with objects written at these times."""
    return Inventory(
        {name: ObjectInfo(f"{name}.csv", 1, "etag", modified) for name, modified in raw.items()},
        {name: ObjectInfo(f"{name}_aggregated.csv", 1, "etag", at) for name, at in (hourly or {}).items()},
    )


def bury(queue: WorkQueue, *names: str) -> None:
    queue.enqueue(names)
    lease = queue.claim(len(names), owner="run")
    assert lease is not None
    queue.fail(lease.token, dict.fromkeys(names, "bad"), permanent=True)


def test_files_without_a_result_and_with_an_old_one(queue: WorkQueue):
    found = inventory(
        {"done": NOW - HOUR, "new": NOW - HOUR, "changed": NOW},
        {"done": NOW, "changed": NOW - HOUR},
    )

    assert files_to_catch_up(found, queue) == ["changed.csv", "new.csv"]


def test_a_change_in_the_very_moment_of_the_result_is_looked_at(queue: WorkQueue):
    assert files_to_catch_up(inventory({"a": NOW}, {"a": NOW}), queue) == ["a.csv"]


def test_a_dead_letter_is_left_alone(queue: WorkQueue):
    bury(queue, "a.csv")

    assert files_to_catch_up(inventory({"a": NOW - HOUR, "b": NOW - HOUR}), queue) == ["b.csv"]


def test_a_dead_letter_whose_file_was_mended_is_not(queue: WorkQueue):
    bury(queue, "a.csv")

    assert files_to_catch_up(inventory({"a": datetime.now(UTC) + HOUR}), queue) == ["a.csv"]


def test_a_dead_letter_of_a_file_without_a_time_is_left_alone(queue: WorkQueue):
    bury(queue, "a.csv")

    assert files_to_catch_up(inventory({"a": None}), queue) == []


@pytest.mark.parametrize("seconds", [1, 30])
def test_clocks_of_store_and_queue_may_differ_a_little(queue: WorkQueue, seconds: float):
    """Azure tells whole seconds, and its clock is not Redis': the file may well have been mended after its failure."""
    bury(queue, "a.csv")

    assert files_to_catch_up(inventory({"a": datetime.now(UTC) - timedelta(seconds=seconds)}), queue) == ["a.csv"]


def test_each_of_many_dead_letters_is_known(queue: WorkQueue):
    names = [f"s{number}.csv" for number in range(2500)]
    bury(queue, *names)

    assert files_to_catch_up(inventory({name.removesuffix(".csv"): NOW - HOUR for name in names}), queue) == []
