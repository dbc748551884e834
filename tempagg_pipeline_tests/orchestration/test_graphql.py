"""What the UI's pages get to know, asked as they ask: by GraphQL of the real web server, with the real daemon."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest

from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline_tests.orchestration.workplaces import BAD, BAD_REASON, GOOD, HEADER, Workplace, workplace_of
from tempagg_pipeline_tests.servers.dagster_ui import DagsterUi
from tempagg_pipeline_tests.servers.processes import wait_until

_BACKFILL_SECONDS = 120.0


@pytest.fixture(scope="module")
def workplace(dagster_ui_server: DagsterUi) -> Iterator[Workplace]:
    with workplace_of(dagster_ui_server) as place:
        yield place


def node(ui: DagsterUi, asset: dg.AssetKey, fields: str, **variables: object) -> Mapping[str, Any]:
    """Fields of an asset's page."""
    names = {"partition": "$partition: String", "partitions": "$partitions: [String!]"}
    declared = "".join(f", {names[name]}" for name in variables)
    query = (
        f"query ($path: [String!]!{declared}) {{ assetNodeOrError(assetKey: {{path: $path}})"
        f" {{ ... on AssetNode {{ {fields} }} }} }}"
    )
    return ui.ask(query, path=asset.path, **variables)["assetNodeOrError"]


def stale(ui: DagsterUi, asset: dg.AssetKey, location: str) -> tuple[str, list[str]]:
    """Status of a partition and the reasons for it."""
    fields = "staleStatus(partition: $partition) staleCauses(partition: $partition) { reason }"
    found = node(ui, asset, fields, partition=location)
    return found["staleStatus"], [cause["reason"] for cause in found["staleCauses"]]


def test_a_new_hourly_partition_is_fresh(dagster_ui_server: DagsterUi, workplace: Workplace):
    workplace.put(fresh=GOOD)
    assert workplace.run("fresh").success

    assert stale(dagster_ui_server, HOURLY, "fresh") == ("FRESH", [])


def test_the_same_raw_data_again_leaves_the_hourly_partition_fresh(dagster_ui_server: DagsterUi, workplace: Workplace):
    workplace.put(same=GOOD)
    assert workplace.run("same").success
    workplace.put(same=GOOD)

    assert workplace.run("same", assets=[RAW]).success

    assert stale(dagster_ui_server, HOURLY, "same") == ("FRESH", [])


def test_new_raw_data_makes_the_hourly_partition_stale(dagster_ui_server: DagsterUi, workplace: Workplace):
    workplace.put(changed=GOOD)
    assert workplace.run("changed").success
    workplace.put(changed=GOOD + b"2024-01-01 00:02:00,3\n")

    assert workplace.run("changed", assets=[RAW]).success

    assert stale(dagster_ui_server, HOURLY, "changed") == ("STALE", ["has a new data version"])


def test_a_stale_partition_is_fresh_when_made_again(dagster_ui_server: DagsterUi, workplace: Workplace):
    workplace.put(again=GOOD)
    assert workplace.run("again").success
    workplace.put(again=GOOD + b"2024-01-01 00:02:00,3\n")
    assert workplace.run("again", assets=[RAW]).success

    assert workplace.run("again", assets=[HOURLY]).success

    assert stale(dagster_ui_server, HOURLY, "again") == ("FRESH", [])


def test_an_hourly_partition_made_before_its_raw_one_was_recorded_is_no_error(
    dagster_ui_server: DagsterUi, workplace: Workplace
):
    workplace.put(unrecorded=GOOD)
    assert workplace.run("unrecorded", assets=[HOURLY]).success

    assert stale(dagster_ui_server, HOURLY, "unrecorded")[0] in {"FRESH", "STALE"}


def test_columns_and_their_origin_are_shown(dagster_ui_server: DagsterUi, workplace: Workplace):
    workplace.put(columns=GOOD)
    assert workplace.run("columns").success

    found = node(
        dagster_ui_server,
        HOURLY,
        "metadataEntries { ... on TableSchemaMetadataEntry { schema { columns { name type description } } } }"
        " assetMaterializations(partitions: $partitions, limit: 1) { metadataEntries {"
        " ... on TableColumnLineageMetadataEntry"
        " { lineage { columnName columnDeps { assetKey { path } columnName } } } } }",
        partitions=["columns"],
    )

    (schema,) = [entry["schema"] for entry in found["metadataEntries"] if "schema" in entry]
    (lineage,) = [
        entry["lineage"] for entry in found["assetMaterializations"][0]["metadataEntries"] if "lineage" in entry
    ]
    assert [column["name"] for column in schema["columns"]] == ["Datetime", "mean", "std", "min", "max", "count"]
    assert all(column["description"] for column in schema["columns"])
    origins = {column["columnName"]: {dep["columnName"] for dep in column["columnDeps"]} for column in lineage}
    assert origins["Datetime"] == {"Datetime"}
    assert origins["mean"] == {"Datetime", "Temperature"}
    assert {tuple(dep["assetKey"]["path"]) for column in lineage for dep in column["columnDeps"]} == {
        ("raw_temperature",)
    }


def launch_backfill(ui: DagsterUi, *locations: str) -> str:
    """Ask for a backfill of both assets, as the button of the UI does; returns its id."""
    found = ui.ask(
        "mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params)"
        " { ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        params={
            "partitionNames": list(locations),
            "assetSelection": [{"path": RAW.path}, {"path": HOURLY.path}],
            "tags": [],
        },
    )
    return found["launchPartitionBackfill"]["backfillId"]


def backfill(ui: DagsterUi, backfill_id: str) -> Mapping[str, Any]:
    """State of a backfill."""
    query = (
        "query ($id: String!) { partitionBackfillOrError(backfillId: $id)"
        " { ... on PartitionBackfill { status runs(limit: 50) { runId status } } } }"
    )
    return ui.ask(query, id=backfill_id)["partitionBackfillOrError"]


@pytest.fixture(scope="module")
def backfilled(dagster_ui_server: DagsterUi, workplace: Workplace) -> Mapping[str, Any]:
    """A backfill from the UI of five locations, one of them bad."""
    locations = [f"filled{number}" for number in range(1, 6)]
    workplace.put(**dict.fromkeys(locations, GOOD) | {"filled3": BAD})
    backfill_id = launch_backfill(dagster_ui_server, *locations)
    finished = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED"}
    wait_until(
        lambda: backfill(dagster_ui_server, backfill_id)["status"] in finished, "end of backfill", _BACKFILL_SECONDS
    )
    return backfill(dagster_ui_server, backfill_id)


def test_a_backfill_is_one_run_or_a_few_not_one_a_location(backfilled: Mapping[str, Any]):
    # Dagster makes one run of each stretch of neighbours; another test's location may have been registered among them.
    assert 1 <= len(backfilled["runs"]) < 5


def test_good_locations_of_a_backfill_land_and_the_bad_one_shows_as_failed(
    dagster_ui_server: DagsterUi, backfilled: Mapping[str, Any]
):
    fields = "assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } }"

    for asset in (RAW, HOURLY):
        statuses = node(dagster_ui_server, asset, fields)["assetPartitionStatuses"]
        landed = [name for name in statuses["materializedPartitions"] if name.startswith("filled")]
        assert landed == ["filled1", "filled2", "filled4", "filled5"]
        assert "filled3" in statuses["failedPartitions"]


def test_each_location_of_a_backfill_has_its_own_check_results(
    dagster_ui_server: DagsterUi, backfilled: Mapping[str, Any]
):
    fields = (
        "assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses"
        " { ... on AssetCheckDefaultPartitionStatuses { succeededPartitions failedPartitions } } } } }"
    )
    checks = node(dagster_ui_server, RAW, fields)["assetChecksOrError"]["checks"]
    (readable,) = [check["partitionStatuses"] for check in checks if check["name"] == "readable"]

    assert "filled3" in readable["failedPartitions"]
    assert {"filled1", "filled2", "filled4", "filled5"} <= set(readable["succeededPartitions"])


def test_the_run_s_error_names_the_bad_location(dagster_ui_server: DagsterUi, backfilled: Mapping[str, Any]):
    query = (
        "query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {"
        " ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } }"
    )
    logs = [dagster_ui_server.ask(query, id=run["runId"])["logsForRun"]["events"] for run in backfilled["runs"]]

    (failure,) = [event["failureMetadata"] for events in logs for event in events if event]
    assert failure["description"].endswith(f" locations failed:\n- filled3.csv, {BAD_REASON}")


def test_the_header_alone_is_named_as_such(dagster_ui_server: DagsterUi, workplace: Workplace):
    workplace.put(headeronly=HEADER)
    assert not workplace.run("headeronly").success

    fields = "assetPartitionStatuses { ... on DefaultPartitionStatuses { failedPartitions } }"
    assert "headeronly" in node(dagster_ui_server, HOURLY, fields)["assetPartitionStatuses"]["failedPartitions"]
