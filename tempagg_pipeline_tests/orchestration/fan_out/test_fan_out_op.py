"""Runs of the fan-out op: what becomes of each leased file, in the store, in the history and on the queue."""

import multiprocessing
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.processing import LocationProcessor, Processed
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline.core.work_queue.held_lease import HeldLease
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.fan_out import OP
from tempagg_pipeline_tests.core.stores import new_container
from tempagg_pipeline_tests.core.work_queue.passing_time import let_time_pass
from tempagg_pipeline_tests.orchestration.fan_out import worker
from tempagg_pipeline_tests.orchestration.fan_out.site import Site, config_of, request
from tempagg_pipeline_tests.orchestration.workplaces import BAD, BAD_REASON, GOOD, SAMPLES, Workplace, registered
from tempagg_pipeline_tests.servers.azurite import Azurite
from tempagg_pipeline_tests.servers.processes import free_port, wait_until

SAMPLE = SAMPLES["temperature2.csv"]
OTHER = SAMPLES["temperature3.csv"]


def output_of(content: bytes, name: str) -> bytes:
    return b"".join(aggregate([content], name).table.csv_pieces())


def let_pass(site: Site, seconds: float) -> None:
    let_time_pass(site.queue._client, settings().queue.name, seconds)


def summary_of(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """The figures on the run's page."""
    [output] = [event for event in result.all_events if event.is_successful_output or event.is_step_failure][:1]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The run's error as the UI shows it."""
    assert not result.success
    data = result.failure_data_for_node(OP)
    assert data is not None
    assert data.user_failure_data is not None
    return data.user_failure_data.description or ""


def events_of(result: dg.ExecuteInProcessResult, site: Site) -> list[dg.DagsterEventType]:
    """Materializations and check evaluations of a run, from the stored history."""
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    records = site.instance.get_records_for_run(result.run_id, of_type=kinds).records
    return [record.event_log_entry.get_dagster_event().event_type for record in records]


# --- the same as a run of the assets


def history(place: Workplace, location: str) -> Mapping[str, object]:
    """What the history tells of a location, without what differs from run to run."""
    told: dict[str, object] = {}
    for asset in (RAW, HOURLY):
        found = place.materialization(asset, location)
        differing = {"seconds", "rows_per_second", "etag"} if asset == HOURLY else set()
        told[f"{asset} metadata"] = {name: value for name, value in found.metadata.items() if name not in differing}
        told[f"{asset} tags"] = {
            name: value for name, value in (found.tags or {}).items() if "input_event_pointer" not in name
        }
    told |= {
        name: (found.passed, found.severity, found.description, found.metadata, found.asset_key)
        for name, found in place.evaluations(location).items()
    }
    targets = [found.target_materialization_data for found in place.evaluations(location).values()]
    records = {place.record(asset, location).storage_id for asset in (RAW, HOURLY)}
    assert {target.storage_id for target in targets if target} == records
    return told


def test_a_fan_out_run_leaves_what_an_asset_run_leaves(site: Site, tmp_path: Path):
    site.place.put(same=SAMPLE)
    assert site.place.run("same").success
    by_asset_run = history(site.place, "same")

    (tmp_path / "temperaturefiles" / "same_aggregated.csv").unlink()
    assert site.run(site.claim("same.csv")).success

    assert history(site.place, "same") == by_asset_run
    assert len(site.place.materializations(HOURLY, "same")) == 2


def test_each_file_lands_and_leaves_the_queue(site: Site):
    site.push(*site.put(landed1=SAMPLE, landed2=OTHER))

    result = site.run(site.claim())

    assert result.success
    assert site.place.store.read("landed1_aggregated.csv") == output_of(SAMPLE, "landed1.csv")
    assert site.place.store.read("landed2_aggregated.csv") == output_of(OTHER, "landed2.csv")
    assert {"landed1", "landed2"} <= set(registered(site.instance))
    assert site.queue.stats().completed == 2
    assert site.queue.stats().unfinished == 0
    expected = {"processed": 2, "unchanged": 0, "failed": 0, "not_leased": 0}
    assert summary_of(result).items() >= expected.items()


# --- files that can't be processed


def test_one_bad_file_is_a_dead_letter_alone(site: Site):
    site.push(*site.put(good1=GOOD, bad=BAD, good2=SAMPLE))

    result = site.run(site.claim())

    assert failure_of(result) == f"1 of 3 locations failed:\n- bad.csv, {BAD_REASON}"
    [letter] = site.queue.dead_letters()
    assert (letter.name, letter.reason, letter.attempts) == ("bad.csv", f"bad.csv, {BAD_REASON}", 1)
    assert letter.owner == result.run_id
    assert site.queue.stats().completed == 2
    assert site.place.store.find("bad_aggregated.csv") is None
    assert not site.place.evaluations("bad")["readable"].passed
    for location in ("good1", "good2"):
        assert site.place.record(HOURLY, location).run_id == result.run_id


def test_a_name_without_an_object_is_a_dead_letter_and_no_partition(site: Site):
    site.put(there=GOOD)

    result = site.run(site.claim("there.csv", "nowhere.csv"))

    [letter] = site.queue.dead_letters()
    assert letter.name == "nowhere.csv"
    assert "nowhere.csv: there is no such object" in letter.reason
    assert "nowhere.csv" in failure_of(result)
    assert "there" in registered(site.instance)
    assert "nowhere" not in registered(site.instance)


@pytest.mark.parametrize("name", ["no_suffix", "done_aggregated.csv", "a/b.csv", "../up.csv", "n\0l.csv", "{{x}}.csv"])
def test_a_name_that_is_no_raw_files_is_a_dead_letter(site: Site, name: str):
    result = site.run(site.claim(name))

    [letter] = site.queue.dead_letters()
    assert letter.name == name
    assert letter.reason in failure_of(result)
    assert events_of(result, site) == []


def test_names_that_look_odd_are_processed_like_any(site: Site):
    names = ["Straße Zürich 7", "Ωμέγα (2)", "a+b@c=d~e", "x" * 200, "日本"]
    site.push(*site.put(**dict.fromkeys(names, GOOD)))

    assert site.run(site.claim()).success

    assert set(names) <= set(registered(site.instance))
    assert site.place.store.find("日本_aggregated.csv") is not None


def test_a_batch_of_many_long_names(site: Site):
    names = [f"{number:03}" + "ü" * 98 for number in range(300)]
    site.push(*site.put(**dict.fromkeys(names, GOOD)))
    [asked, *_] = site.tick().run_requests

    result = site.run(asked)

    assert result.success
    assert summary_of(result)["processed"] == 100


def test_a_store_that_is_away_is_tried_again_later(
    site: Site, azurite_server: Azurite, monkeypatch: pytest.MonkeyPatch
):
    container = new_container(azurite_server)
    for name, value in {**azurite_server.env, "TEMPAGG_CONTAINER": container}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_STORAGE_BLOB_ENDPOINT", f"http://127.0.0.1:{free_port()}/devstoreaccount1")
    settings.cache_clear()
    place = Workplace(site.instance, {**azurite_server.env, "TEMPAGG_CONTAINER": container})
    first = site.run(site.claim("away.csv"))
    assert "away.csv in http://127.0.0.1" in failure_of(first)
    assert site.queue.stats().delayed == 1
    assert "away" in registered(site.instance)

    place.put(away=SAMPLE)
    monkeypatch.setenv("AZURE_STORAGE_BLOB_ENDPOINT", azurite_server.endpoint)
    settings.cache_clear()
    let_pass(site, 60)
    asked = site.claim()
    assert config_of(asked)["suspects"] == ["away.csv"]

    assert site.run(asked).success
    assert place.store.read("away_aggregated.csv") == output_of(SAMPLE, "away.csv")
    assert site.queue.stats().unfinished == site.queue.stats().dead == 0


# --- delivered again


def test_an_unchanged_file_is_recognised(site: Site):
    site.push(*site.put(again=SAMPLE))
    assert site.run(site.claim()).success
    before = site.place.store.head("again_aggregated.csv")

    result = site.run(site.claim("again.csv"))

    assert summary_of(result).items() >= {"processed": 0, "unchanged": 1}.items()
    assert events_of(result, site) == []
    assert site.place.store.head("again_aggregated.csv") == before
    assert site.queue.stats().completed == 2


def test_a_changed_file_is_processed_again(site: Site):
    site.push(*site.put(changed=SAMPLE))
    assert site.run(site.claim()).success

    site.put(changed=OTHER)
    assert site.run(site.claim("changed.csv")).success

    assert site.place.store.read("changed_aggregated.csv") == output_of(OTHER, "changed.csv")


def test_a_run_that_died_before_its_history_is_made_up_for(site: Site):
    """The output is there, and nobody knows."""
    site.push(*site.put(unknown=SAMPLE))
    asked = site.claim()
    LocationProcessor(site.place.store).process("unknown")
    site.queue.start(config_of(asked)["lease"], ["unknown.csv"], owner="dead run")
    site.queue.release(config_of(asked)["lease"], reason="run died")
    let_pass(site, 60)

    assert site.run(site.claim()).success

    assert len(site.place.materializations(HOURLY, "unknown")) == 1


def test_a_finished_run_executed_again_does_nothing(site: Site):
    site.push(*site.put(once=SAMPLE))
    asked = site.claim()
    assert site.run(asked).success

    result = site.run(asked)

    assert result.success
    assert summary_of(result).items() >= {"processed": 0, "unchanged": 0, "not_leased": 1}.items()
    assert events_of(result, site) == []


def test_a_failed_run_executed_again_does_not_work_on_what_went_back(site: Site):
    site.push(*site.put(back=SAMPLE))
    asked = site.claim()
    site.queue.release(config_of(asked)["lease"], reason="its run failed")
    let_pass(site, 60)
    other = site.queue.claim(1, owner="another run")

    assert summary_of(site.run(asked))["not_leased"] == 1

    assert other is not None
    assert site.queue.extend(other.token) == ["back.csv"]
    assert site.place.store.find("back_aggregated.csv") is None


def test_files_given_to_another_run_in_the_middle_are_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.push(*site.put(mine=GOOD, lost=GOOD))
    asked = site.claim()
    begin = HeldLease.begin

    def begin_after_the_loss(lease: HeldLease, name: str) -> bool:
        if name == "lost.csv":
            site.queue.release(config_of(asked)["lease"], [name])
        return begin(lease, name)

    monkeypatch.setattr(HeldLease, "begin", begin_after_the_loss)

    result = site.run(asked)

    assert summary_of(result).items() >= {"processed": 1, "not_leased": 1}.items()
    assert site.place.store.find("lost_aggregated.csv") is None
    assert site.queue.stats().ready == 1


def test_a_run_without_its_queue_fails_and_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.push(*site.put(unreached=GOOD))
    asked = site.claim()
    monkeypatch.setenv("REDIS_URL", f"redis://:{site.server.password}@127.0.0.1:1")
    monkeypatch.setenv("REDIS_RETRIES", "0")
    settings.cache_clear()

    assert not site.run(asked).success

    assert site.queue.stats().claimed == 1


# --- leases while the op works


def slow_down(monkeypatch: pytest.MonkeyPatch, until: Any) -> None:
    """Have each file's work last until something is so."""
    process = LocationProcessor.process

    def slow(processor: LocationProcessor, location: str, **options: Any) -> Processed | None:
        wait_until(until, "the slow work's end")
        return process(processor, location, **options)

    monkeypatch.setattr(LocationProcessor, "process", slow)


def test_the_heartbeat_keeps_the_lease_over_a_long_file(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPAGG_LEASE_SECONDS", "0.4")
    settings.cache_clear()
    site.push(*site.put(long=SAMPLE))
    asked = site.claim()
    others: list[object] = []
    beats: list[int] = []
    beat = HeldLease.beat

    def counted_beat(lease: HeldLease) -> None:
        beat(lease)
        others.append(site.queue.claim(1, owner="another"))
        beats.append(1)

    monkeypatch.setattr(HeldLease, "beat", counted_beat)
    slow_down(monkeypatch, lambda: len(beats) > 10)

    assert site.run(asked).success

    assert set(others) == {None}
    assert site.queue.stats().completed == 1


# --- files that take their worker with them


def test_a_file_that_kills_its_worker_ends_as_the_only_dead_letter(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPAGG_MAX_ATTEMPTS", "3")
    settings.cache_clear()
    site.queue = WorkQueue(site.queue._client, settings().queue)
    locations = [f"beside{number}" for number in range(11)] + ["killer"]
    site.push(*site.put(**dict.fromkeys(locations, GOOD)))
    deaths = 0
    while site.queue.stats().unfinished:
        asked = site.claim()
        died = die_upon("killer", site, asked)
        if died:
            site.queue.release(config_of(asked)["lease"], reason="its worker died")  # as the sensors do
        deaths += died
        let_pass(site, 1200)

    [letter] = site.queue.dead_letters()
    assert (letter.name, letter.attempts, letter.reason) == ("killer.csv", 3, "its worker died")
    assert deaths == 3
    assert site.queue.stats().completed == 11
    assert all(site.place.store.find(f"{location}_aggregated.csv") for location in locations[:-1])


def die_upon(location: str, site: Site, asked: dg.RunRequest) -> bool:
    """Execute a run in a process of its own that is killed when it comes to a location; whether it was."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    arguments = (location, site.instance.get_ref(), site.place.env, asked)
    process = processes.Process(target=worker.execute_until_killed, args=arguments)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


# --- other stores and databases


@pytest.fixture
def postgres_site(site: Site, postgres_server: Any, tmp_path: Path) -> Iterator[Site]:
    """The same with history in PostgreSQL."""
    storage = {"storage": {"postgres": {"postgres_url": postgres_server.create_database("fan_out")}}}
    with dg.instance_for_test(overrides=storage, temp_dir=str(tmp_path), set_dagster_home=False) as instance:
        yield Site(Workplace(instance, site.place.env), site.server, site.producer, site.queue)


def test_all_the_same_in_postgresql(postgres_site: Site):
    site = postgres_site
    site.push(*site.put(good=SAMPLE, other=OTHER, bad=BAD), "n\0l.csv", "nowhere.csv")
    requests = site.tick().run_requests
    for asked in requests:
        site.create_run(asked, dg.DagsterRunStatus.STARTED)
    assert site.tick().run_requests == []

    results = [site.run(asked) for asked in requests]

    assert len(results) == 3
    assert {letter.name for letter in site.queue.dead_letters()} == {"bad.csv", "n\0l.csv", "nowhere.csv"}
    assert set(registered(site.instance)) == {"good", "other", "bad"}
    assert site.place.record(HOURLY, "good").run_id in {result.run_id for result in results}
    assert len(site.place.evaluations("good")) == 6
    assert site.queue.stats().unfinished == 0


def test_a_request_by_hand_without_a_lease_does_nothing(site: Site):
    site.put(byhand=GOOD)

    result = site.run(request("made-up", ["byhand.csv"]))

    assert result.success
    assert site.place.store.find("byhand_aggregated.csv") is None
