"""The whole way under real processes: a producer's Redis, a daemon, a store; and the proof that nothing was lost."""

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
from redis import Redis

from tempagg_pipeline.core.locations import hourly_name, location_of
from tempagg_pipeline.core.sample import SampleSpec, sample_csv
from tempagg_pipeline.core.settings import QueueSettings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.fan_out import fan_out
from tempagg_pipeline_tests.core.pandas_reference import STATISTICS, TOLERANCE, by_pandas
from tempagg_pipeline_tests.servers.daemon import Daemon, running_daemon
from tempagg_pipeline_tests.servers.processes import wait_until
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_server

AOF = ("appendonly yes", "appendfsync always")
"""What a Redis that may crash needs."""


@dataclass
class Plant:
    """A running pipeline.

    Attributes:
        directory: below which everything is kept.
        redis: the queue's server.
        dagster: daemon, code server, runs.
        queue: settings of the queue.
    """

    directory: Path
    redis: RedisServer
    dagster: Daemon
    queue: QueueSettings
    pushed: dict[str, bytes] = field(default_factory=dict)

    @property
    def container(self) -> Path:
        """Where the objects are."""
        return self.directory / "store" / "temperaturefiles"

    def push(self, *names: str) -> None:
        """Push names as any producer does, with a plain client."""
        with Redis(port=self.redis.port, password=self.redis.password) as producer:
            producer.rpush(self.queue.name, *names)

    def upload(self, prefix: str, count: int, days: float = 1.0) -> list[str]:
        """Put made-up raw files into the store; returns their names."""
        names = [f"{prefix}{number}.csv" for number in range(1, count + 1)]
        for name in names:
            content = b"".join(sample_csv(SampleSpec(random.randrange(10**9), datetime(2024, 1, 1), days, 0.01, 0)))
            self.write(name, content)
        return names

    def write(self, name: str, content: bytes) -> None:
        """Put an object into the store, as an upload does: whole or not at all."""
        self.container.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / "upload.tmp"
        temporary.write_bytes(content)
        temporary.replace(self.container / name)
        self.pushed[name] = content

    @contextmanager
    def open_queue(self) -> Iterator[WorkQueue]:
        """The queue."""
        with self.redis.client() as client:
            yield WorkQueue(client, self.queue)

    def await_drained(self, limit_seconds: float = 120.0) -> None:
        """Wait until no file is left to be worked on, and each run is over."""
        with self.open_queue() as queue:
            wait_until(lambda: not queue.stats().unfinished, "the queue is empty", limit_seconds)
        wait_until(lambda: not self.runs_under_way(), "all runs are over", limit_seconds)

    def await_claim(self) -> None:
        """Wait until the sensor has claimed files."""
        with self.open_queue() as queue:
            wait_until(lambda: queue.stats().leased > 0, "the sensor claims files")

    def await_work(self) -> None:
        """Wait until a run works on files."""
        with self.open_queue() as queue:
            wait_until(lambda: queue.stats().started > 0, "a run works on files")

    def runs_under_way(self) -> Sequence[dg.DagsterRun]:
        """Runs that are not over.

        A run asked to end just as it does so is over, though Dagster has it as canceling for minutes.
        """
        canceling = dg.DagsterRunStatus.CANCELING
        return [run for run in self.runs() if not run.is_finished and run.status != canceling]

    def runs(self) -> Sequence[dg.DagsterRun]:
        """All fan-out runs, oldest first."""
        with self.dagster.instance() as instance:
            return instance.get_runs(dg.RunsFilter(job_name=fan_out.name))[::-1]

    def materializations(self, asset: dg.AssetKey = HOURLY) -> Mapping[str, int]:
        """How often each partition was materialized."""
        counts: Counter[str] = Counter()
        cursor: str | None = None
        with self.dagster.instance() as instance:
            while True:
                page = instance.fetch_materializations(asset, limit=1000, cursor=cursor)
                counts.update(record.partition_key for record in page.records if record.partition_key)
                if not page.has_more:
                    return counts
                cursor = page.cursor

    def prove(self, names: Sequence[str], dead: Sequence[str] = ()) -> None:
        """Each name is done or a dead letter with a reason, each output whole and right, and the history knows."""
        with self.open_queue() as queue:
            assert queue.stats().unfinished == 0
            letters = {letter.name: letter for letter in queue.dead_letters(0, 10_000)}
        assert letters.keys() & {*names} == {*dead}
        assert all(letters[name].reason for name in dead)
        made = {asset: self.materializations(asset) for asset in (RAW, HOURLY)}
        for name in sorted({*names} - {*dead}):
            assert_right(self.container / hourly_name(location_of(name)), self.pushed[name])
            assert made[RAW].get(location_of(name)), f"{name} is not in the history"
            assert made[HOURLY].get(location_of(name)), f"{name} is not in the history"
        assert [run.run_id for run in self.runs_under_way()] == []
        leftovers = [path.name for path in self.container.iterdir() if not path.name.endswith(".csv")]
        assert leftovers == []


def assert_right(path: Path, content: bytes) -> None:
    """An output holds what pandas makes of its input."""
    expected = by_pandas(content)
    found = pd.read_csv(BytesIO(path.read_bytes()))
    assert [str(hour) for hour in expected.index] == list(found["Datetime"]), path
    for column in STATISTICS:
        np.testing.assert_allclose(
            found[column].to_numpy(float),
            expected[column].to_numpy(float),
            rtol=TOLERANCE,
            atol=TOLERANCE,
            err_msg=f"{path} {column}",
        )


@contextmanager
def running_plant(directory: Path, *, warm: bool = True, **queue: object) -> Iterator[Plant]:
    """A pipeline at work on an empty queue and an empty store; ended with the context.

    Args:
        directory: takes everything.
        warm: whether runs start warm.
        queue: settings of the queue, by field name.
    """
    settings = QueueSettings.model_validate(queue)
    fields = QueueSettings.model_fields
    env = {str(fields[name].validation_alias): str(value) for name, value in queue.items()}
    with redis_server(directory / "redis", AOF) as redis:
        env |= {"TEMPAGG_LOCAL_ROOT": str(directory / "store"), **redis.env}
        env |= {name: os.environ[name] for name in ("PATH",) if name in os.environ}
        with running_daemon(directory / "dagster_home", env, warm=warm) as dagster:
            yield Plant(directory, redis, dagster, settings)
