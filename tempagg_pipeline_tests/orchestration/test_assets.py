"""Runs of the two assets: what they store, record, and do about locations that can't be processed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline_tests.core.stores import new_container
from tempagg_pipeline_tests.orchestration.workplaces import (
    BAD,
    BAD_REASON,
    GOOD,
    HEADER,
    SAMPLES,
    Workplace,
    sqlite_workplace,
)
from tempagg_pipeline_tests.servers.azurite import Azurite

SAMPLE = SAMPLES["temperature2.csv"]
EXPECTED = aggregate([SAMPLE], "temperature2.csv")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    with sqlite_workplace(tmp_path_factory.mktemp("assets")) as place:
        yield place


@pytest.fixture(scope="module")
def one(workplace: Workplace) -> dg.ExecuteInProcessResult:
    """A run of one location."""
    workplace.put(one=SAMPLE)
    return workplace.run("one")


@pytest.fixture(scope="module")
def batch(workplace: Workplace) -> dg.ExecuteInProcessResult:
    """A run of four locations, two of them bad; one of the bad has a good output from an earlier run."""
    workplace.put(batch1=SAMPLE, batch2=GOOD, batch3=BAD, batch4=GOOD)
    assert workplace.run("batch2").success
    workplace.put(batch2=BAD)
    return workplace.run("batch1", "batch4")


def test_one_partition_has_its_hourly_object(workplace: Workplace, one: dg.ExecuteInProcessResult):
    assert one.success
    assert workplace.store.read("one_aggregated.csv") == b"".join(EXPECTED.table.csv_pieces())


def test_an_object_uploaded_into_the_container_is_not_rewritten(workplace: Workplace):
    workplace.put(unwritten=GOOD)
    before = workplace.store.head("unwritten.csv")

    assert workplace.run("unwritten").success

    assert workplace.store.head("unwritten.csv") == before


def test_the_raw_partition_tells_what_the_file_holds(workplace: Workplace, one: dg.ExecuteInProcessResult):
    metadata = workplace.materialization(RAW, "one").metadata
    profile = EXPECTED.profile

    assert {name: value.value for name, value in metadata.items()} == {
        "dagster/row_count": profile.rows,
        "dagster/uri": workplace.store.url_of("one.csv"),
        "first": "2024-01-01 00:00:00",
        "last": "2024-01-07 23:59:00",
        "readings": profile.readings,
        "missing_minutes": 10_080 - profile.readings,
        "duplicates": 0,
        "unreadable_rows": 0,
        "bytes": len(SAMPLE),
        "etag": workplace.store.head("one.csv").etag,
        "sha256": profile.sha256,
    }


def test_the_hourly_partition_tells_what_was_made(workplace: Workplace, one: dg.ExecuteInProcessResult):
    metadata = {name: value.value for name, value in workplace.materialization(HOURLY, "one").metadata.items()}

    assert metadata["hours"] == metadata["dagster/row_count"] == 168
    assert metadata["hours_without_data"] == 0
    assert metadata["readings"] == EXPECTED.profile.readings
    assert metadata["missing_minutes"] == EXPECTED.profile.missing_minutes
    assert metadata["coverage"] == pytest.approx(EXPECTED.profile.coverage, abs=1e-6)
    assert metadata["min_celsius"] == EXPECTED.table.min.min()
    assert metadata["max_celsius"] == EXPECTED.table.max.max()
    assert metadata["dagster/uri"] == workplace.store.url_of("one_aggregated.csv")
    assert metadata["etag"] == workplace.store.head("one_aggregated.csv").etag
    assert metadata["source_etag"] == workplace.store.head("one.csv").etag
    assert isinstance(metadata["seconds"], float)
    assert isinstance(metadata["rows_per_second"], int)


def test_the_hourly_partition_shows_a_chart_and_a_preview(workplace: Workplace, one: dg.ExecuteInProcessResult):
    metadata = workplace.materialization(HOURLY, "one").metadata
    chart, preview = metadata["chart"], metadata["preview"]

    assert isinstance(chart, dg.MarkdownMetadataValue)
    assert chart.value.startswith("![mean in °C]")
    assert "(data:image/svg+xml," in chart.value
    assert isinstance(preview, dg.TableMetadataValue)
    assert preview.records[0].data["Datetime"] == "2024-01-01 00:00:00"
    assert preview.records[0].data["mean"] == pytest.approx(EXPECTED.table.mean[0], abs=1e-4)


def test_checks_name_partition_and_materialization(workplace: Workplace, one: dg.ExecuteInProcessResult):
    evaluations = workplace.evaluations("one")
    raw, hourly = workplace.record(RAW, "one"), workplace.record(HOURLY, "one")

    assert evaluations.keys() == {
        "readable", "no_duplicate_timestamps", "complete", "plausible", "statistics_in_order", "hours_contiguous",
    }  # fmt: skip
    assert all(evaluation.passed for evaluation in evaluations.values())
    for evaluation in evaluations.values():
        judged = raw if evaluation.asset_key == RAW else hourly
        assert evaluation.target_materialization_data is not None
        assert evaluation.target_materialization_data.storage_id == judged.storage_id
        assert evaluation.target_materialization_data.run_id == one.run_id


def test_good_locations_of_a_batch_land(workplace: Workplace, batch: dg.ExecuteInProcessResult):
    assert workplace.store.read("batch1_aggregated.csv") == b"".join(EXPECTED.table.csv_pieces())
    assert workplace.store.find("batch4_aggregated.csv") is not None


def test_each_location_of_a_batch_has_its_own_record(workplace: Workplace, batch: dg.ExecuteInProcessResult):
    for location, hours in {"batch1": 168, "batch4": 1}.items():
        (record,) = workplace.materializations(HOURLY, location)
        assert record.run_id == batch.run_id
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["hours"].value == hours
        assert len(workplace.materializations(RAW, location)) == 1
    assert workplace.evaluations("batch1")["complete"].passed
    assert not workplace.evaluations("batch4")["complete"].passed


def test_the_error_lists_each_failed_location_with_its_reason(batch: dg.ExecuteInProcessResult):
    failure = batch.failure_data_for_node("temperature")

    assert failure is not None
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == (
        f"2 of 4 locations failed:\n- batch2.csv, {BAD_REASON}\n- batch3.csv, {BAD_REASON}"
    )
    assert failure.user_failure_data.metadata["failed_locations"].value == ["batch2", "batch3"]


def test_a_failed_location_has_no_new_record(workplace: Workplace, batch: dg.ExecuteInProcessResult):
    assert not workplace.materializations(RAW, "batch3")
    assert not workplace.materializations(HOURLY, "batch3")
    assert all(record.run_id != batch.run_id for record in workplace.materializations(HOURLY, "batch2"))


def test_bad_raw_data_is_left_as_it_is(workplace: Workplace, batch: dg.ExecuteInProcessResult):
    assert workplace.store.read("batch3.csv") == BAD
    assert workplace.store.find("batch3_aggregated.csv") is None


def test_an_earlier_good_output_stays(workplace: Workplace, batch: dg.ExecuteInProcessResult):
    assert workplace.store.read("batch2_aggregated.csv") == b"".join(aggregate([GOOD], "").table.csv_pieces())


def test_a_failed_location_has_a_failed_check_with_the_reason(workplace: Workplace, batch: dg.ExecuteInProcessResult):
    evaluation = workplace.evaluations("batch3")["readable"]

    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.description == f"batch3.csv, {BAD_REASON}"


def test_a_location_without_an_object_fails_with_the_place_searched(workplace: Workplace):
    workplace.put(vanished=GOOD)
    Path(workplace.env["TEMPAGG_LOCAL_ROOT"], "temperaturefiles", "vanished.csv").unlink()

    failure = workplace.run("vanished").failure_data_for_node("temperature")

    assert failure is not None
    assert failure.user_failure_data is not None
    assert f"there is no such object in {workplace.store.url}" in str(failure.user_failure_data.description)


def test_only_raw_validates_and_writes_nothing(workplace: Workplace):
    workplace.put(rawonly=GOOD)

    assert workplace.run("rawonly", assets=[RAW]).success

    assert workplace.materializations(RAW, "rawonly")
    assert not workplace.materializations(HOURLY, "rawonly")
    assert workplace.store.find("rawonly_aggregated.csv") is None
    assert workplace.evaluations("rawonly").keys() == {"readable", "no_duplicate_timestamps"}


def test_only_hourly_refers_to_the_raw_materialization_before(workplace: Workplace):
    workplace.put(hourlyonly=GOOD)
    assert workplace.run("hourlyonly", assets=[RAW]).success

    assert workplace.run("hourlyonly", assets=[HOURLY]).success

    raw = workplace.record(RAW, "hourlyonly")
    tags = workplace.materialization(HOURLY, "hourlyonly").tags or {}
    assert len(workplace.materializations(RAW, "hourlyonly")) == 1
    assert tags["dagster/input_event_pointer/raw_temperature"] == str(raw.storage_id)
    assert (
        tags["dagster/input_data_version/raw_temperature"]
        == (raw.asset_materialization.tags or {})[  # pyright: ignore
            "dagster/data_version"
        ]
    )


def test_the_run_has_no_materialization_besides_those_of_its_partitions(
    workplace: Workplace, batch: dg.ExecuteInProcessResult
):
    wanted = {dg.DagsterEventType.ASSET_MATERIALIZATION}
    records = workplace.instance.get_records_for_run(batch.run_id, of_type=wanted).records
    events = [record.event_log_entry.get_dagster_event() for record in records]

    assert sorted((event.asset_key.to_user_string(), event.partition) for event in events if event.asset_key) == [
        ("hourly_temperature", "batch1"),
        ("hourly_temperature", "batch4"),
        ("raw_temperature", "batch1"),
        ("raw_temperature", "batch4"),
    ]


def test_a_landing_place_is_ingested_from(workplace: Workplace, tmp_path: Path):
    (tmp_path / "landed.csv").write_bytes(SAMPLE)
    workplace.put(landed=GOOD)

    assert workplace.run("landed", env={"TEMPAGG_LANDING": str(tmp_path)}).success

    assert workplace.store.read("landed.csv") == SAMPLE
    assert (tmp_path / "landed.csv").read_bytes() == SAMPLE
    raw = workplace.materialization(RAW, "landed").metadata
    assert raw["etag"].value == workplace.store.head("landed.csv").etag


def test_bad_data_in_the_landing_place_never_reaches_the_container(workplace: Workplace, tmp_path: Path):
    (tmp_path / "landedbad.csv").write_bytes(BAD)
    workplace.put(landedbad=GOOD)

    assert not workplace.run("landedbad", env={"TEMPAGG_LANDING": str(tmp_path)}).success

    assert workplace.store.read("landedbad.csv") == GOOD


def test_bad_rows_are_skipped_and_counted_where_the_policy_allows(workplace: Workplace):
    workplace.put(lenient=BAD)

    assert workplace.run("lenient", env={"TEMPAGG_BAD_ROWS_MAX_SHARE": "0.5"}).success

    assert workplace.materialization(RAW, "lenient").metadata["unreadable_rows"].value == 1
    evaluation = workplace.evaluations("lenient")["readable"]
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert "line 3" in str(evaluation.metadata["where"].value)


@pytest.fixture
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda self, attempt: 0)


def _retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_up_for_retry for event in result.all_events)


@pytest.mark.usefixtures("_no_delay")
def test_bad_data_is_not_tried_again(workplace: Workplace):
    workplace.put(hopeless=BAD)

    assert _retries(workplace.run("hopeless")) == 0


@pytest.mark.usefixtures("_no_delay")
def test_a_store_that_refuses_is_tried_again(workplace: Workplace):
    workplace.put(refused=GOOD)
    # A folder where the object should go: the store can't rename its temporary file to that.
    blocked = Path(workplace.env["TEMPAGG_LOCAL_ROOT"], "temperaturefiles", "refused_aggregated.csv")
    (blocked / "inside").mkdir(parents=True)

    result = workplace.run("refused")

    shutil.rmtree(blocked)
    assert not result.success
    assert _retries(result) == 2
    assert workplace.run("refused").success


def test_azure_gives_the_same_objects_and_records(azurite_server: Azurite, tmp_path: Path):
    env = azurite_server.env | {"TEMPAGG_CONTAINER": new_container(azurite_server)}
    with sqlite_workplace(tmp_path, **env) as workplace:
        workplace.put(azure1=SAMPLE, azure2=HEADER)

        result = workplace.run("azure1", "azure2")

        failure = result.failure_data_for_node("temperature")
        assert failure is not None
        assert failure.user_failure_data is not None
        assert str(failure.user_failure_data.description).startswith("1 of 2 locations failed:\n- azure2.csv")
        assert workplace.store.read("azure1_aggregated.csv") == b"".join(EXPECTED.table.csv_pieces())
        metadata = workplace.materialization(HOURLY, "azure1").metadata
        assert metadata["etag"].value == workplace.store.head("azure1_aggregated.csv").etag
        assert str(metadata["dagster/uri"].value).startswith(azurite_server.endpoint)
