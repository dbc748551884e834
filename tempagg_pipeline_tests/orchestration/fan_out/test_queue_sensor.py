"""Ticks of the queue sensor: what they claim, hand out and look after, and what becomes of a tick that dies."""

import json
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import dagster as dg
import pytest
from dagster._core.storage.runs.schema import RunsTable

from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.core.work_queue import QueueStats, WorkQueue
from tempagg_pipeline.orchestration.queue_sensor import LEASE_TAG, failed_fan_out_sensor
from tempagg_pipeline.orchestration.resources import TemperatureQueue
from tempagg_pipeline_tests.core.work_queue.passing_time import let_time_pass
from tempagg_pipeline_tests.orchestration.fan_out.site import (
    Site,
    Tick,
    config_of,
    files_of,
    handed_out,
    request,
    sizes_of,
    tokens_of,
)

Status = dg.DagsterRunStatus


def names(count: int) -> list[str]:
    return [f"temperature{number}.csv" for number in range(1, count + 1)]


def let_pass(site: Site, seconds: float) -> None:
    let_time_pass(site.queue._client, settings().queue.name, seconds)


def start_runs(site: Site, answer: Tick, status: Status = Status.QUEUED) -> list[dg.DagsterRun]:
    return [site.create_run(request, status) for request in answer.run_requests]


# --- what is handed out


def test_six_files_go_two_each_to_three_runs(site: Site):
    site.push(*names(6))

    answer = site.tick()

    assert sizes_of(answer) == [2, 2, 2]
    assert handed_out(answer) == names(6)


def test_a_thousand_files_do_not_make_a_thousand_runs(site: Site):
    site.push(*names(1000))

    assert sizes_of(site.tick()) == [334, 333, 333]


def test_a_run_gets_no_more_than_the_maximum(site: Site):
    site.push(*names(2000))

    assert sizes_of(site.tick()) == [500, 500, 500]
    assert site.queue.stats().ready == 500


def test_one_file_goes_at_once(site: Site):
    site.push("temperature1.csv")

    assert files_of(site.tick()) == [["temperature1.csv"]]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING])
def test_runs_under_way_count_against_the_parallelism(site: Site, status: Status):
    site.push("temperature1.csv")
    start_runs(site, site.tick(), status)
    site.push(*names(9)[1:])

    assert sizes_of(site.tick()) == [4, 4]
    assert sizes_of(site.tick()) == []


def test_nothing_is_claimed_that_cannot_be_handed_out(site: Site):
    site.push(*names(3))
    start_runs(site, site.tick())
    site.push("temperature4.csv")

    answer = site.tick()

    assert (
        answer.skip_message == "1 ready, 0 delayed, 3 leased to 3 of 3 runs, 0 dead letters, the oldest waits for 0 s"
    )
    assert site.queue.stats().ready == 1


def test_a_request_names_lease_batch_and_attempt(site: Site):
    site.push("temperature1.csv", "temperature2.csv", "temperature3.csv", "temperature4.csv")

    [first, *_] = site.tick().run_requests

    token = config_of(first)["lease"]
    assert first.run_key == token
    assert {name: first.tags[name] for name in first.tags if name.startswith("tempagg/")} == {
        LEASE_TAG: token,
        "tempagg/files": "2",
        "tempagg/first_file": "temperature1.csv",
        "tempagg/attempt": "1",
    }


def test_what_was_tried_before_is_suspect(site: Site):
    site.push(*names(4))
    before = site.claim(limit=2)
    token = config_of(before)["lease"]
    site.queue.start(token, names(1), owner="run")
    site.queue.release(token, reason="its worker died")
    let_pass(site, 600)

    requests = {tuple(config_of(asked)["suspects"]): asked for asked in site.tick().run_requests}

    suspect = requests["temperature1.csv",]
    assert suspect.tags["tempagg/attempt"] == "2"
    assert () in requests


def test_names_of_any_kind_are_handed_on_as_they_are(site: Site):
    odd = ["with space.csv", "qu'ote\".csv", "Straße Zürich 7.csv", "{{ env }}.csv", "a\tb.csv", "n\0l.csv", "🌡.csv"]
    site.push(*odd)

    assert sorted(handed_out(site.tick())) == sorted(odd)


def test_what_can_be_no_name_never_leaves_the_queue(site: Site):
    site.push(b"\xff\xfe", "", "x" * 2000)

    assert site.tick().run_requests == []
    assert site.queue.stats().dead == 3


# --- answers that are lost


def test_a_tick_whose_answer_was_lost_is_repeated_to_the_letter(site: Site):
    site.tick()  # the cursor has its series
    site.push(*names(6))

    lost, repeated = site.tick(answer_lost=True), site.tick()

    assert [(asked.run_key, asked.run_config) for asked in lost.run_requests] == [
        (asked.run_key, asked.run_config) for asked in repeated.run_requests
    ]
    assert site.queue.stats().leased == 6


def test_a_repeated_tick_also_hands_out_what_came_meanwhile(site: Site):
    site.tick()
    site.push("temperature1.csv")
    lost = site.tick(answer_lost=True)
    site.push("temperature2.csv")

    repeated = site.tick()

    assert files_of(repeated) == [["temperature1.csv"], ["temperature2.csv"]]
    assert tokens_of(repeated)[0] == tokens_of(lost)[0]


def test_a_token_is_never_used_again(site: Site):
    tokens: list[str] = []
    for number in range(5):
        site.push(f"temperature{number}.csv")
        answer = site.tick()
        tokens += tokens_of(answer)
        site.queue.complete(tokens[-1], files_of(answer)[0])

    assert len(set(tokens)) == len(tokens) == 5


@pytest.mark.parametrize("operations", range(1, 9))
def test_a_tick_killed_after_any_of_its_requests_loses_and_doubles_nothing(site: Site, operations: int):
    site.tick()
    site.push(*names(6))

    tick_killed_after(site, operations)
    answer = site.tick()

    assert sorted(handed_out(answer)) == names(6)
    assert site.queue.stats().leased == 6
    assert len(site.queue.leases()) == len(answer.run_requests) == 3


def tick_killed_after(site: Site, operations: int) -> None:
    """Evaluate the sensor in a process that is killed right after so many requests to Redis."""

    def tick_and_die() -> None:
        numbers, run = count(1), WorkQueue._run

        def run_and_die(queue: WorkQueue, *arguments: object) -> object:
            reply = run(queue, *arguments)  # pyright: ignore[reportArgumentType]
            if next(numbers) == operations:
                os.kill(os.getpid(), signal.SIGKILL)
            return reply

        WorkQueue._run = run_and_die  # pyright: ignore[reportAttributeAccessIssue]
        site.tick()
        os.kill(os.getpid(), signal.SIGKILL)  # all is claimed, and the answer is not given

    process = multiprocessing.get_context("fork").Process(target=tick_and_die)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_claims_of_a_cursor_that_got_lost_come_back(site: Site):
    site.push(*names(3))
    site.tick(answer_lost=True)  # the very first tick: no cursor yet, so the next one has another series
    assert site.tick().run_requests == []

    let_pass(site, 600)
    site.tick()  # takes back what expired
    let_pass(site, 600)

    assert sorted(handed_out(site.tick())) == names(3)


def test_an_old_cursor_put_back_by_hand_stops_nothing(site: Site):
    site.tick()
    old = site.cursor
    for number in range(2):
        site.push(f"temperature{number}.csv")
        answer = site.tick()
        [run] = start_runs(site, answer, Status.SUCCESS)
        site.queue.complete(run.tags[LEASE_TAG], files_of(answer)[0])
    site.cursor = old
    site.push("temperature7.csv")

    again = site.tick()  # under a token that is a finished run's: Dagster starts no second run for its key
    assert files_of(again) == [["temperature7.csv"]]
    for _ in range(3):  # the other used token goes the same way
        let_pass(site, 600)
        site.tick()
    let_pass(site, 600)
    answer = site.tick()
    assert files_of(answer) == [["temperature7.csv"]]
    assert tokens_of(answer)[0].endswith("-2")


def runs_of_long_ago(site: Site, answer: Tick) -> list[dg.DagsterRun]:
    """Runs of an answer, as if they had started two hours ago."""
    runs = start_runs(site, answer, Status.STARTED)
    with site.instance.run_storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        connection.execute(
            RunsTable.update()
            .where(RunsTable.c.run_id.in_([run.run_id for run in runs]))
            .values(update_timestamp=datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=2))
        )
    return runs


def statuses(site: Site, runs: Sequence[dg.DagsterRun]) -> set[Status]:
    return {run.status for run in site.instance.get_runs(dg.RunsFilter([run.run_id for run in runs]))}


def test_runs_whose_workers_died_unnoticed_give_back_files_and_places(site: Site):
    """A worker was killed together with the process that watched it, as when a machine fails."""
    site.push(*names(3))
    answer = site.tick()
    runs = runs_of_long_ago(site, answer)
    for token, files in zip(tokens_of(answer), files_of(answer), strict=True):
        site.queue.start(token, files, owner="run")
    site.tick()
    assert statuses(site, runs) == {Status.STARTED}  # its worker beats
    let_pass(site, 600)
    assert site.tick().run_requests == []
    let_pass(site, 600)

    assert sorted(handed_out(site.tick())) == names(3)
    assert statuses(site, runs) == {Status.FAILURE}


def test_a_run_whose_worker_died_with_nothing_left_to_do_ends_too(site: Site):
    site.push("temperature1.csv")
    answer = site.tick()
    runs = runs_of_long_ago(site, answer)
    site.queue.complete(tokens_of(answer)[0], ["temperature1.csv"])

    site.tick()

    assert statuses(site, runs) == {Status.FAILURE}


def test_a_run_that_has_just_settled_its_last_file_may_end_in_peace(site: Site):
    site.push("temperature1.csv")
    answer = site.tick()
    [run] = runs_of_long_ago(site, answer)
    site.queue.complete(tokens_of(answer)[0], ["temperature1.csv"])
    site.instance.report_engine_event("the last file's history is stored", run)

    site.tick()

    assert statuses(site, [run]) == {Status.STARTED}


def test_leases_that_nobody_renews_do_not_stop_the_sensor(site: Site):
    """Claims for which there never was a run take all places; they expire, though no other file comes."""
    site.push(*names(3))
    site.tick(answer_lost=True)
    site.tick()
    let_pass(site, 130)
    site.tick()
    let_pass(site, 130)

    assert sorted(handed_out(site.tick())) == names(3)


def test_a_tick_waits_a_little_for_files(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPAGG_SENSOR_WAIT_SECONDS", "20")
    settings.cache_clear()
    looks, stats = count(1), WorkQueue.stats

    def stats_until_a_push(queue: WorkQueue) -> QueueStats:
        if next(looks) == 3:
            site.push("temperature1.csv")
        return stats(queue)

    monkeypatch.setattr(WorkQueue, "stats", stats_until_a_push)

    assert files_of(site.tick()) == [["temperature1.csv"]]


# --- leases looked after


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING])
def test_the_lease_of_a_run_that_waits_is_renewed(site: Site, status: Status):
    site.push("temperature1.csv")
    start_runs(site, site.tick(), status)
    let_pass(site, 3600)  # no tick for an hour: the daemon was down

    assert site.tick().run_requests == []

    [lease] = site.queue.leases()
    assert lease.expires_in_seconds > settings().queue.lease_seconds - 60


def test_the_lease_of_a_run_that_works_is_its_own_business(site: Site):
    site.push("temperature1.csv")
    start_runs(site, site.tick(), Status.STARTED)
    before = site.queue.leases()[0].expires_in_seconds
    let_pass(site, 10)

    site.tick()

    assert site.queue.leases()[0].expires_in_seconds < before


@pytest.mark.parametrize("status", [Status.FAILURE, Status.CANCELED, Status.SUCCESS])
def test_files_of_a_run_that_ended_go_back(site: Site, status: Status):
    site.push("temperature1.csv", "temperature2.csv")
    answer = site.tick()
    start_runs(site, answer, status)
    token = tokens_of(answer)[0]
    site.queue.start(token, files_of(answer)[0], owner="run")

    site.tick()

    assert site.queue.stats().leased == 0
    let_pass(site, 600)
    requests = site.tick().run_requests
    assert sorted(name for asked in requests for name in config_of(asked)["suspects"]) == files_of(answer)[0]


def test_a_re_executed_run_does_not_keep_the_first_ones_files(site: Site):
    site.push("temperature1.csv")
    [asked] = site.tick().run_requests
    site.create_run(asked, Status.FAILURE)
    site.create_run(asked, Status.QUEUED)

    site.tick()

    assert site.queue.stats().leased == 0


def test_leases_of_other_claimers_are_left_alone(site: Site):
    """Another instance's sensor, or a worker of somebody's own."""
    site.claim("temperature1.csv")
    let_pass(site, settings().queue.lease_seconds - 10)

    site.tick()

    assert site.queue.stats().leased == 1


def test_two_instances_share_a_queue(site: Site):
    site.push(*names(2))
    first = site.tick()
    other = Site(site.place, site.server, site.producer, site.queue)
    site.push("temperature3.csv")

    second = other.tick()

    assert handed_out(first, second) == names(3)
    assert not {*tokens_of(first)} & {*tokens_of(second)}


def test_a_run_that_was_created_and_never_submitted_does_not_hold_its_files(site: Site):
    site.push("temperature1.csv")
    start_runs(site, site.tick(), Status.NOT_STARTED)

    let_pass(site, 600)
    site.tick()  # takes back what expired
    let_pass(site, 600)

    assert files_of(site.tick()) == [["temperature1.csv"]]


# --- failed runs


def failure_tick(site: Site, run: dg.DagsterRun) -> str:
    """The message of the failure sensor's tick for a run."""
    from dagster._core.events import DagsterEvent

    with dg.build_run_status_sensor_context(
        sensor_name=failed_fan_out_sensor.name,
        dagster_event=DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name),
        dagster_instance=site.instance,
        dagster_run=run,
        resources={"temperature_queue": TemperatureQueue()},
    ).for_run_failure() as context:
        answer = failed_fan_out_sensor(context)
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message
    return answer.skip_message


def test_files_of_a_failed_run_go_back_at_once(site: Site):
    site.push("temperature1.csv")
    [run] = start_runs(site, site.tick(), Status.FAILURE)

    assert failure_tick(site, run) == f"1 files of run {run.run_id} went back to the queue"

    assert site.queue.stats().leased == 0


def test_the_queue_sensor_and_the_failure_sensor_do_not_give_files_back_twice(site: Site):
    site.push("temperature1.csv")
    [run] = start_runs(site, site.tick(), Status.FAILURE)
    site.tick()
    let_pass(site, 60)
    again = site.tick()
    assert files_of(again) == [["temperature1.csv"]]

    assert failure_tick(site, run).startswith("0 files")

    assert site.queue.stats().leased == 1


def test_a_failed_run_of_somebodys_own_making_holds_nothing(site: Site):
    run = site.create_run(dg.RunRequest(run_config=request("by-hand", []).run_config), Status.FAILURE)

    assert "holds no files" in failure_tick(site, run)


# --- Redis that is away


def test_a_failed_run_is_left_to_the_queue_sensor_when_redis_is_away(
    site: Site, impatient: None, monkeypatch: pytest.MonkeyPatch
):
    site.push("temperature1.csv")
    [run] = start_runs(site, site.tick(), Status.FAILURE)
    monkeypatch.setenv("REDIS_URL", f"redis://:{site.server.password}@127.0.0.1:1")
    settings.cache_clear()

    message = failure_tick(site, run)

    assert message.startswith("The queue can't be reached, a later tick of the queue sensor will see to it: ")
    assert site.server.password not in message


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("REDIS_RETRIES", "1")
    settings.cache_clear()


def unreachable_tick(site: Site) -> str:
    """The message of a tick that can't reach the queue; it keeps the cursor, and no secret shows."""
    before = site.cursor
    answer = site.tick()
    assert answer.cursor == before
    assert not answer.run_requests
    message = answer.skip_message
    assert message.startswith("The queue can't be reached: ")
    assert "\n" not in message
    assert site.server.password not in message
    return message


@pytest.mark.usefixtures("impatient")
def test_redis_that_is_down_makes_ticks_skip_until_it_is_back(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.tick()
    site.push(*names(3))
    with monkeypatch.context() as patch:
        patch.setenv("REDIS_URL", f"redis://:{site.server.password}@127.0.0.1:1")
        settings.cache_clear()
        assert "127.0.0.1:1" in unreachable_tick(site)
    settings.cache_clear()

    assert sizes_of(site.tick()) == [1, 1, 1]


@pytest.mark.usefixtures("impatient")
def test_redis_that_hangs_makes_ticks_skip(site: Site):
    site.tick()
    site.push(*names(3))
    assert site.server.process is not None
    site.server.process.send_signal(signal.SIGSTOP)
    try:
        assert "Timeout" in unreachable_tick(site)
    finally:
        site.server.process.send_signal(signal.SIGCONT)

    assert sizes_of(site.tick()) == [1, 1, 1]


@pytest.mark.usefixtures("impatient")
def test_a_wrong_password_makes_ticks_skip(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", f"redis://:very-secret@127.0.0.1:{site.server.port}")
    settings.cache_clear()

    message = unreachable_tick(site)

    assert "password" in message
    assert "very-secret" not in message


def test_redis_that_is_full_is_emptied(site: Site):
    site.tick()
    site.push(*names(3))
    site.producer.config_set("maxmemory", 1)
    try:
        assert sizes_of(site.tick()) == [1, 1, 1]
    finally:
        site.producer.config_set("maxmemory", 0)


@pytest.mark.usefixtures("impatient")
def test_a_tick_cut_short_between_claims_is_finished_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.tick()
    site.push(*names(3))
    claims, claim = count(1), WorkQueue.claim
    redis = site.server.process
    assert redis is not None

    def claim_until_redis_hangs(queue: WorkQueue, *arguments: int, **options: str) -> object:
        if next(claims) == 2:
            redis.send_signal(signal.SIGSTOP)
        return claim(queue, *arguments, **options)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(WorkQueue, "claim", claim_until_redis_hangs)
        try:
            unreachable_tick(site)
        finally:
            redis.send_signal(signal.SIGCONT)

    assert handed_out(site.tick()) == names(3)
    assert site.queue.stats().leased == 3


# --- figures for people


def figures(answer: Tick) -> Mapping[str, int] | None:
    if not answer.asset_events:
        return None
    [observation] = answer.asset_events
    values = {name: value.value for name, value in observation.metadata.items()}
    assert values.pop("oldest_age_seconds") >= 0
    return values


def test_figures_of_the_queue_are_recorded_when_they_change(site: Site):
    site.push(*names(3))
    expected = {"ready": 3, "delayed": 0, "leased": 0, "dead_letters": 0}

    assert figures(site.tick()) == expected
    assert figures(site.tick()) == expected | {"ready": 0, "leased": 3}
    assert figures(site.tick()) is None


def test_a_tick_without_files_says_how_the_queue_is(site: Site):
    assert site.tick().skip_message == "0 ready, 0 delayed, 0 leased to 0 of 3 runs, 0 dead letters"


def test_a_cursor_that_cannot_be_read_begins_a_new_series(site: Site):
    site.cursor = "not ours"

    assert json.loads(site.tick().cursor)["number"] == 0
