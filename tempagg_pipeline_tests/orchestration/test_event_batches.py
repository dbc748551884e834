"""Events stored by batch are the rows that Dagster would have stored one by one."""

import json
import multiprocessing
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from tempagg_pipeline.orchestration.dagster_internals import check_target, data_version_tags, input_version_tags
from tempagg_pipeline.orchestration.event_batches import EventWriter
from tempagg_pipeline_tests.orchestration.workplaces import postgres_workplace, sqlite_workplace
from tempagg_pipeline_tests.servers.postgres import Postgres

RAW, HOURLY = dg.AssetKey("raw"), dg.AssetKey("hourly")

_TOLD_OTHERWISE = {"message", "user_message", "logging_tags", "pid"}
"""What the batch says in other words, or leaves out; nothing looks it up."""


def events(partitions: Sequence[str] = ("a", "b")) -> list[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """Two materializations and two evaluations a partition, with everything that Dagster indexes."""
    versions = data_version_tags("1", "abc") | input_version_tags(RAW, "def", 7) | {"other": "tag"}
    made: list[dg.AssetMaterialization | dg.AssetCheckEvaluation] = []
    for partition in partitions:
        made += [
            dg.AssetMaterialization(key, partition=partition, metadata={"x": 1}, tags=versions) for key in (RAW, HOURLY)
        ]
        for name, passed in {"first": True, "second": False}.items():
            made.append(
                dg.AssetCheckEvaluation(
                    asset_key=HOURLY,
                    check_name=name,
                    passed=passed,
                    metadata={"where": "there"},
                    target_materialization_data=check_target(10**9, "some-run", 0.0),  # pyright: ignore[reportArgumentType]
                    severity=dg.AssetCheckSeverity.WARN,
                    description="as it is",
                    partition=partition,
                )
            )
    return made


class How(dg.Config):
    """How a step hands its events over."""

    batched: bool
    times: int = 1
    partitions: list[str] = ["a", "b"]  # noqa: RUF012 - Dagster's config classes copy defaults


@dg.op(out={})
def step(context: dg.OpExecutionContext, config: How):
    for _ in range(config.times):
        if config.batched:
            EventWriter(context).store(events(config.partitions))
        else:
            yield from events(config.partitions)


@dg.job(executor_def=dg.in_process_executor)
def writing():
    step()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    directory = tmp_path_factory.mktemp(f"batches-{request.param}")
    if request.param == "sqlite":
        with sqlite_workplace(directory) as place:
            yield place.instance
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with postgres_workplace(directory, server.create_database("event_batches")) as place:
            yield place.instance


def execute(instance: dg.DagsterInstance, how: How) -> str:
    """Run the job; returns the run's id."""
    result = writing.execute_in_process(instance=instance, run_config=dg.RunConfig({"step": how}))
    assert result.success
    return result.run_id


def sql_storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    return storage


def rows_of(connection: sa.Connection, table: str, where: str, **values: object) -> list[dict[str, Any]]:
    query = sa.text(f"SELECT * FROM {table} WHERE {where} ORDER BY id")  # noqa: S608 - fixed texts of this module
    return [dict(row) for row in connection.execute(query, values).mappings()]


def index_rows(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """What a run left in every table about assets and checks, in storage-neutral form."""
    with sql_storage(instance).index_connection() as connection:
        logs = rows_of(
            connection,
            "event_logs",
            "run_id = :run AND dagster_event_type LIKE 'ASSET%'",
            run=run_id,
        )
        first = logs[0]["id"]
        tables = {
            "event_logs": logs,
            "asset_event_tags": rows_of(
                connection, "asset_event_tags", "event_id BETWEEN :low AND :high", low=first, high=logs[-1]["id"]
            ),
            "asset_keys": rows_of(connection, "asset_keys", "last_run_id = :run", run=run_id),
            "asset_check_executions": rows_of(connection, "asset_check_executions", "run_id = :run", run=run_id),
        }
    ids = {row["id"]: f"event {number}" for number, row in enumerate(logs)}
    return {table: [neutral(row, run_id, ids) for row in rows] for table, rows in tables.items()}


def run_page_rows(instance: dg.DagsterInstance, run_id: str) -> list[dict[str, Any]]:
    """Events that the run's own page shows."""
    with sql_storage(instance).run_connection(run_id) as connection:
        rows = rows_of(connection, "event_logs", "run_id = :run AND dagster_event_type LIKE 'ASSET%'", run=run_id)
    return [neutral(row, run_id, {}) for row in rows]


def neutral(row: Mapping[str, Any], run_id: str, ids: Mapping[int, str]) -> dict[str, Any]:
    """A row without what differs from run to run: ids, times and wording."""
    kept = {name: value for name, value in row.items() if name != "id" and "timestamp" not in name}
    for name in ("event_id", "evaluation_event_storage_id"):
        if name in kept:
            kept[name] = ids[kept[name]]
    for name in ("event", "last_materialization", "evaluation_event"):
        if name in kept:
            kept[name] = neutral_event(kept[name], ids)
    return {name: "this run" if value == run_id else value for name, value in kept.items()}


def neutral_event(serialized: str, ids: Mapping[int, str]) -> Any:
    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            items = {key: tidy(item) for key, item in value.items() if key not in _TOLD_OTHERWISE}
            if "storage_id" in items:
                items["storage_id"] = ids.get(items["storage_id"], items["storage_id"])
            if isinstance(items.get("timestamp"), float):
                del items["timestamp"]
            return items
        if isinstance(value, list):
            return [tidy(item) for item in value]
        return "run" if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}", value) else value

    return tidy(json.loads(serialized))


@pytest.fixture(scope="module")
def one_by_one(instance: dg.DagsterInstance) -> Mapping[str, list[dict[str, Any]]]:
    """Rows of a run whose step yields its events to Dagster; taken before another run replaces the asset's latest."""
    run_id = execute(instance, How(batched=False))
    return index_rows(instance, run_id) | {"run page": run_page_rows(instance, run_id)}


@pytest.fixture(scope="module")
def batched(instance: dg.DagsterInstance, one_by_one: object) -> Mapping[str, list[dict[str, Any]]]:
    """Rows of a run whose step stores the same events as a batch."""
    run_id = execute(instance, How(batched=True))
    return index_rows(instance, run_id) | {"run page": run_page_rows(instance, run_id)}


@pytest.mark.parametrize(
    "table", ["event_logs", "asset_event_tags", "asset_keys", "asset_check_executions", "run page"]
)
def test_a_batch_leaves_the_rows_that_dagster_leaves(
    table: str, one_by_one: Mapping[str, list[dict[str, Any]]], batched: Mapping[str, list[dict[str, Any]]]
):
    assert one_by_one[table]
    assert by_content(batched[table]) == by_content(one_by_one[table])


def by_content(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(str(sorted(row.items())) for row in rows)


def test_the_run_s_page_has_the_events(instance: dg.DagsterInstance):
    run_id = execute(instance, How(batched=True))

    found = [entry.get_dagster_event() for entry in instance.all_logs(run_id) if entry.is_dagster_event]

    kinds = [event.event_type_value for event in found if event.event_type_value.startswith("ASSET")]
    assert kinds == 2 * (2 * ["ASSET_MATERIALIZATION"] + 2 * ["ASSET_CHECK_EVALUATION"])
    assert any(event.message == "Check second of b failed: as it is" for event in found)


def test_a_second_try_within_a_run_replaces_its_check_results(instance: dg.DagsterInstance):
    run_id = execute(instance, How(batched=True, times=2))

    rows = index_rows(instance, run_id)

    assert len(rows["asset_check_executions"]) == 4
    assert {row["evaluation_event_storage_id"] for row in rows["asset_check_executions"]} == {
        f"event {number}" for number in (10, 11, 14, 15)
    }


def test_ids_are_those_of_the_events_in_order(instance: dg.DagsterInstance):
    ids: list[int] = []

    @dg.op(out={})
    def noting(context: dg.OpExecutionContext):
        ids.extend(EventWriter(context).store(events()))

    @dg.job(executor_def=dg.in_process_executor)
    def noting_ids():
        noting()

    assert noting_ids.execute_in_process(instance=instance).success
    wanted = dg.AssetRecordsFilter(asset_key=HOURLY, storage_ids=[ids[1], ids[5]])
    records = instance.fetch_materializations(wanted, limit=9, ascending=True).records
    assert [record.partition_key for record in records] == ["a", "b"]


def write_in_another_process(home: str, writer: int, runs: int) -> None:
    """Body of a process that writes into an instance others write into too."""
    with dg.DagsterInstance.from_config(home) as instance:
        partitions = [f"{writer}-{number}" for number in range(10)]
        for _ in range(runs):
            execute(instance, How(batched=True, times=5, partitions=partitions))


def test_processes_that_write_at_a_time_lose_nothing(tmp_path: Path):
    writers, runs = 3, 1
    context = multiprocessing.get_context("spawn")
    with sqlite_workplace(tmp_path) as place:
        home = place.instance.root_directory
        processes = [
            context.Process(target=write_in_another_process, args=(home, number, runs)) for number in range(writers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

        assert [process.exitcode for process in processes] == [0] * writers
        with sql_storage(place.instance).index_connection() as connection:
            stored = rows_of(connection, "event_logs", "dagster_event_type = 'ASSET_MATERIALIZATION'")
            checks = rows_of(connection, "asset_check_executions", "execution_status != 'PLANNED'")
        assert len(stored) == writers * runs * 5 * 10 * 2
        assert len(checks) == writers * runs * 10 * 2
