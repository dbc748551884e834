"""From a plain RPUSH to hourly files and history, under a real daemon; and with its processes killed."""

import random
import time
from collections.abc import Iterator, Sequence

import dagster as dg
import pytest

from tempagg_pipeline.core.locations import location_of
from tempagg_pipeline_tests.orchestration.fan_out.plant import Plant, running_plant
from tempagg_pipeline_tests.orchestration.workplaces import BAD


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """One plant for all tests: each pushes files of its own and leaves the queue empty."""
    rules = {"sensor_interval_seconds": 1, "lease_seconds": 60, "backoff_seconds": 0.2, "backoff_max_seconds": 2}
    with running_plant(tmp_path_factory.mktemp("plant"), **rules) as plant:
        yield plant


def new_runs(plant: Plant, before: int) -> list[int]:
    """Files of each run that came since."""
    return [int(run.tags["tempagg/files"]) for run in plant.runs()[before:]]


def made(plant: Plant, names: Sequence[str]) -> set[int]:
    """How often their partitions were materialized."""
    counts = plant.materializations()
    return {counts[location_of(name)] for name in names}


def test_six_files_take_three_runs(plant: Plant):
    names, before = plant.upload("six", 6), len(plant.runs())

    plant.push(*names)
    plant.await_drained()

    plant.prove(names)
    assert new_runs(plant, before) == [2, 2, 2]
    assert made(plant, names) == {1}


def test_three_hundred_files_take_three_runs(plant: Plant):
    names, before = plant.upload("small", 300), len(plant.runs())

    plant.push(*names)
    plant.await_drained()

    plant.prove(names)
    assert new_runs(plant, before) == [100, 100, 100]
    assert made(plant, names) == {1}


def test_a_bad_file_ends_as_a_dead_letter_with_its_reason(plant: Plant):
    plant.write("bad.csv", BAD)
    names = [*plant.upload("beside", 2), "bad.csv", "nowhere.csv"]

    plant.push(*names)
    plant.await_drained()

    plant.prove(names, dead=["bad.csv", "nowhere.csv"])


def test_files_of_killed_workers_go_back_at_once(plant: Plant):
    """Long before their lease ends."""
    names, before = plant.upload("worker", 60, days=20), len(plant.runs())
    plant.push(*names)
    plant.await_work()

    assert plant.dagster.kill_workers()
    plant.await_drained(limit_seconds=100)

    plant.prove(names)
    assert dg.DagsterRunStatus.FAILURE in {run.status for run in plant.runs()[before:]}


def test_a_run_that_is_terminated_gives_its_files_back(plant: Plant):
    names, before = plant.upload("terminated", 60, days=20), len(plant.runs())
    plant.push(*names)
    plant.await_work()

    with plant.dagster.instance() as instance:
        started = [run for run in plant.runs_under_way() if run.status == dg.DagsterRunStatus.STARTED]
        assert any([instance.run_launcher.terminate(run.run_id) for run in started])  # noqa: C419 - each of them
    plant.await_drained()

    plant.prove(names)
    statuses = {run.status for run in plant.runs()[before:]}
    assert statuses & {dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING}


def test_a_daemon_killed_in_the_middle_loses_nothing(plant: Plant):
    names = plant.upload("daemon", 40)
    plant.push(*names)
    plant.await_claim()
    time.sleep(random.uniform(0, 1))  # the instant of its death, not a wait for something
    plant.dagster.restart_daemon()
    plant.await_drained()

    plant.prove(names)


def test_a_code_server_killed_in_the_middle_loses_nothing(plant: Plant):
    names = plant.upload("code", 40)
    plant.push(*names)
    time.sleep(random.uniform(0, 2))
    plant.dagster.restart_code_server()
    plant.await_drained()

    plant.prove(names)


def test_a_redis_killed_in_the_middle_loses_nothing(plant: Plant):
    names = plant.upload("redis", 60, days=10)
    plant.push(*names)
    plant.await_work()
    plant.redis.kill()
    time.sleep(random.uniform(0, 2))
    plant.redis.start()
    plant.await_drained()

    plant.prove(names)
