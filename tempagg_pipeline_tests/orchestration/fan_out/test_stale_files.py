"""Files that nobody pushed: found by the schedule's job and by the sensor for new files."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tempagg_pipeline.core.processing import LocationProcessor
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.definitions import defs
from tempagg_pipeline.orchestration.partitions import register_locations
from tempagg_pipeline.orchestration.resources import TemperatureQueue, TemperatureStore
from tempagg_pipeline.orchestration.stale_files import enqueue_stale, new_files_sensor
from tempagg_pipeline_tests.orchestration.fan_out.site import Site, config_of
from tempagg_pipeline_tests.orchestration.workplaces import BAD, GOOD, SAMPLES, Workplace

LONG_AGO = datetime(2020, 1, 1).timestamp()


@pytest.fixture
def site(site: Site) -> Site:
    """With an instance of its own: which locations are known matters here."""
    site.place = Workplace(dg.DagsterInstance.ephemeral(), site.place.env)
    return site


def look(site: Site, *, answer_lost: bool = False) -> Any:
    """A tick of the sensor for new files; unless its answer is lost, its effects are as under Dagster."""
    resources = {"temperature_store": TemperatureStore(), "temperature_queue": TemperatureQueue()}
    with dg.build_sensor_context(instance=site.instance, cursor=site.cursor, resources=resources) as context:
        answer = new_files_sensor.evaluate_tick(context)
    if not answer_lost:
        site.cursor = answer.cursor
        for request in answer.dynamic_partitions_requests or []:
            register_locations(site.instance, request.partition_keys)
    return answer


def pushed(site: Site) -> list[str]:
    """Takes the names off the list."""
    names = site.queue.peek(1000)
    site.producer.delete(settings().queue.name)
    return names


def process(site: Site, *locations: str) -> None:
    for location in locations:
        LocationProcessor(site.place.store).process(location)


def touch(site: Site, tmp_path: Path, name: str, time: float) -> None:
    os.utime(tmp_path / "temperaturefiles" / name, (time, time))


def bury(site: Site, *names: str) -> None:
    token = config_of(site.claim(*names))["lease"]
    site.queue.fail(token, dict.fromkeys(names, "bad"), permanent=True)


# --- the sensor for new files


def test_the_first_look_catches_up(site: Site):
    site.put(done=GOOD, open=GOOD)
    process(site, "done")

    answer = look(site)

    assert pushed(site) == ["open.csv"]
    assert answer.skip_message == "1 of 2 files were new or changed and are on the queue"
    assert set(site.instance.get_dynamic_partitions("location")) == {"done", "open"}


def test_a_file_is_put_on_the_queue_once(site: Site):
    site.put(first=GOOD)
    look(site)
    pushed(site)

    look(site)

    assert pushed(site) == []


def test_new_files_are_found(site: Site):
    look(site)
    site.put(second=GOOD, first=GOOD)

    look(site)

    assert pushed(site) == ["first.csv", "second.csv"]


def test_changed_files_are_found(site: Site):
    site.put(same=GOOD, changed=GOOD)
    look(site)
    pushed(site)
    site.put(changed=SAMPLES["temperature2.csv"])

    look(site)

    assert pushed(site) == ["changed.csv"]


def test_a_second_change_within_one_tick_of_the_stores_clock_is_found(site: Site, tmp_path: Path):
    """Azure tells whole seconds."""
    site.put(twice=GOOD)
    now = float(int(datetime.now().timestamp()))
    touch(site, tmp_path, "twice.csv", now)
    look(site)
    pushed(site)
    site.put(twice=SAMPLES["temperature2.csv"])
    touch(site, tmp_path, "twice.csv", now)

    look(site)

    assert pushed(site) == ["twice.csv"]


def test_a_change_that_is_listed_late_is_found(site: Site, tmp_path: Path):
    site.put(late=GOOD, newest=GOOD)
    look(site)
    pushed(site)
    site.put(late=SAMPLES["temperature2.csv"])
    touch(site, tmp_path, "late.csv", (datetime.now() - timedelta(seconds=30)).timestamp())

    look(site)

    assert pushed(site) == ["late.csv"]


def test_a_new_file_with_an_old_time_is_found(site: Site, tmp_path: Path):
    site.put(newest=GOOD)
    look(site)
    pushed(site)
    site.put(moved=GOOD)
    touch(site, tmp_path, "moved.csv", LONG_AGO)

    look(site)
    look(site)

    assert pushed(site) == ["moved.csv"]


def test_outputs_are_not_taken_for_new_files(site: Site):
    site.put(first=GOOD)
    look(site)
    pushed(site)
    process(site, "first")

    look(site)

    assert pushed(site) == []


def test_dead_letters_are_left_alone_until_their_file_changes(site: Site, tmp_path: Path):
    site.put(broken=BAD)
    touch(site, tmp_path, "broken.csv", LONG_AGO)
    bury(site, "broken.csv")

    look(site)
    look(site)
    assert pushed(site) == []

    site.put(broken=GOOD)
    look(site)
    assert pushed(site) == ["broken.csv"]


def test_a_look_whose_answer_was_lost_is_repeated(site: Site):
    look(site)
    site.put(first=GOOD)

    look(site, answer_lost=True)
    look(site)

    assert pushed(site) == ["first.csv", "first.csv"]  # merged, or recognised as unchanged


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1", "127.0.0.1:1"),
        ("AZURE_STORAGE_BLOB_ENDPOINT", "http://127.0.0.1:1/account", "http://127.0.0.1:1/account"),
    ],
)
def test_a_look_without_store_or_queue_skips_and_is_made_up_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
):
    look(site)
    site.put(first=GOOD)
    with monkeypatch.context() as patch:
        patch.setenv(variable, value)
        patch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=secret")
        patch.setenv("REDIS_RETRIES", "0")
        settings.cache_clear()
        answer = look(site)
        assert message in answer.skip_message
        assert "secret" not in answer.skip_message
    settings.cache_clear()

    look(site)

    assert pushed(site) == ["first.csv"]


def test_a_cursor_of_another_time_begins_anew(site: Site):
    site.put(first=GOOD)
    site.cursor = '{"until": "yesterday"}'

    look(site)

    assert pushed(site) == ["first.csv"]


# --- the schedule's job


def run_job(site: Site) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def(enqueue_stale.name)
    return job.execute_in_process(instance=site.instance, raise_on_error=False)


def test_the_schedule_enqueues_what_is_missing_or_stale(site: Site, tmp_path: Path):
    site.put(done=GOOD, changed=GOOD, missing=GOOD, dead=BAD)
    process(site, "done", "changed")
    touch(site, tmp_path, "dead.csv", LONG_AGO)
    bury(site, "dead.csv")
    site.put(changed=SAMPLES["temperature2.csv"])

    assert run_job(site).success

    assert pushed(site) == ["changed.csv", "missing.csv"]


def test_the_schedules_run_says_so_when_the_store_is_away(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_BLOB_ENDPOINT", "http://127.0.0.1:1/account")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=secret")
    settings.cache_clear()

    result = run_job(site)

    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    error = str(failure.step_failure_data.error)
    assert "http://127.0.0.1:1/account" in error
    assert "secret" not in error
