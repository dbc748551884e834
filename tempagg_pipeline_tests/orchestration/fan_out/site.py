"""A queue, a store and a Dagster instance together, as the sensor and the fan-out op find them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from redis import Redis

from tempagg_pipeline.core.locations import raw_name
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline.definitions import defs
from tempagg_pipeline.orchestration.fan_out import OP, fan_out
from tempagg_pipeline.orchestration.queue_sensor import LEASE_TAG, temperature_queue_sensor
from tempagg_pipeline.orchestration.resources import TemperatureQueue
from tempagg_pipeline_tests.orchestration.workplaces import Workplace
from tempagg_pipeline_tests.servers.redis import RedisServer

Tick = Any
"""What a sensor answers, as Dagster's daemon gets it."""


@dataclass
class Site:
    """Where the tests' ticks and fan-out runs happen.

    Attributes:
        place: the store and the instance.
        server: holds the queue.
        producer: a plain client, as anybody who pushes has it.
        queue: the queue as the pipeline opens it.
        cursor: of the sensor, as Dagster would keep it.
    """

    place: Workplace
    server: RedisServer
    producer: Redis
    queue: WorkQueue
    cursor: str | None = None

    @property
    def instance(self) -> dg.DagsterInstance:
        """Keeps the history."""
        return self.place.instance

    def push(self, *names: str | bytes) -> None:
        """Push names as any producer does."""
        self.producer.rpush(settings().queue.name, *names)

    def put(self, **content: bytes) -> list[str]:
        """Upload raw objects without a word to Dagster; returns their names."""
        for location, data in content.items():
            self.place.store.replace(raw_name(location), [data])
        return [raw_name(location) for location in content]

    def tick(self, *, answer_lost: bool = False) -> Tick:
        """Evaluate the sensor; unless its answer is lost, keep the cursor as Dagster does."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"temperature_queue": TemperatureQueue()}
        ) as context:
            answer = temperature_queue_sensor.evaluate_tick(context)
        if not answer_lost:
            self.cursor = answer.cursor
        return answer

    def create_run(
        self, request: dg.RunRequest, status: dg.DagsterRunStatus = dg.DagsterRunStatus.QUEUED
    ) -> dg.DagsterRun:
        """Store the run that a request asks for, in some state, without executing it."""
        code = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tests"), "tests")
        return self.instance.create_run_for_job(
            fan_out,
            run_config=request.run_config,
            tags=dict(request.tags),
            status=status,
            remote_job_origin=RemoteJobOrigin(code, fan_out.name),
        )

    def run(self, request: dg.RunRequest, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Execute the run that a request asks for, here and now."""
        job = defs.resolve_job_def(fan_out.name)
        return job.execute_in_process(
            instance=self.instance,
            run_config=request.run_config,
            tags={**request.tags, **(tags or {})},
            raise_on_error=False,
        )

    def claim(self, *names: str, limit: int = 1000) -> dg.RunRequest:
        """Push names, claim what is ready, and ask for a run of it, as the sensor does."""
        if names:
            self.push(*names)
        lease = self.queue.claim(limit, owner="test")
        assert lease is not None
        fresh = [item.name for item in lease.items if not item.attempts]
        suspects = [item.name for item in lease.items if item.attempts]
        return request(lease.token, fresh, suspects)


def request(token: str, files: Iterable[str], suspects: Iterable[str] = ()) -> dg.RunRequest:
    """A request for a run of leased files."""
    config = {"lease": token, "files": list(files), "suspects": list(suspects)}
    return dg.RunRequest(run_config={"ops": {OP: {"config": config}}}, tags={LEASE_TAG: token})


def config_of(request: dg.RunRequest) -> dict[str, Any]:
    """The op's config in a request."""
    return request.run_config["ops"][OP]["config"]


def files_of(answer: Tick) -> list[list[str]]:
    """Files of each run that an answer requests, suspects last."""
    return [config_of(asked)["files"] + config_of(asked)["suspects"] for asked in answer.run_requests or []]


def handed_out(*answers: Tick) -> list[str]:
    """Files that answers hand out, in order."""
    return [name for answer in answers for files in files_of(answer) for name in files]


def tokens_of(answer: Tick) -> list[str]:
    """Token of each run that an answer requests."""
    return [config_of(asked)["lease"] for asked in answer.run_requests or []]


def sizes_of(answer: Tick) -> Sequence[int]:
    """How many files each run gets that an answer requests."""
    return [len(files) for files in files_of(answer)]
