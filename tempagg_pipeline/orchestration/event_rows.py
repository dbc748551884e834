"""Rows of a batch of events in Dagster's SQL storages, SQLite and PostgreSQL.

This leans on the layout of that storage, which Dagster does not promise; hence the narrow range of versions in
pyproject.toml, and tests that compare these rows with Dagster's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import sqlalchemy as sa
from dagster import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage


class Stored(NamedTuple):
    """An event that has its row in the event log."""

    entry: EventLogEntry
    storage_id: int
    row: Mapping[str, Any]

    @property
    def is_materialization(self) -> bool:
        """Else it is a check evaluation."""
        return self.entry.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION


def is_sql(storage: EventLogStorage) -> TypeGuard[SqlEventLogStorage]:
    """Whether the storage has the tables that are written here."""
    return isinstance(storage, SqlEventLogStorage)


def insert_events(storage: SqlEventLogStorage, run_id: str, entries: Sequence[EventLogEntry]) -> Sequence[int]:
    """Insert a run's events, with what Dagster derives from them; returns the storage id of each."""
    rows = [storage._event_to_row(entry) for entry in entries]
    if storage.is_run_sharded:
        # SQLite: a file a run for the run's own page, and the index for all questions across runs.
        with storage.run_connection(run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
    with storage.index_transaction() as connection:
        inserted = SqlEventLogStorageTable.insert().returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        ids = [int(id_) for id_ in connection.execute(inserted, rows).scalars()]
        stored = [Stored(*of_event) for of_event in zip(entries, ids, rows, strict=True)]
        _store_assets(storage, connection, [one for one in stored if one.is_materialization])
        _store_checks(connection, run_id, [one for one in stored if not one.is_materialization])
    return ids


def _store_assets(storage: SqlEventLogStorage, connection: sa.Connection, stored: Sequence[Stored]) -> None:
    """Index the data versions, and note each asset's latest materialization, once a batch."""
    if not stored:
        return
    storage._store_asset_event_tags(connection, [one.entry for one in stored], [one.storage_id for one in stored])
    latest = {one.entry.get_dagster_event().asset_key: one for one in stored}
    for one in latest.values():
        storage._store_asset_event(connection, one.entry, one.storage_id)


def _store_checks(connection: sa.Connection, run_id: str, stored: Sequence[Stored]) -> None:
    """Complete the rows of planned or earlier evaluations of this run, and add rows where there are none."""
    if not stored:
        return
    table = AssetCheckExecutionsTable
    rows = [_check_row(one) for one in stored]
    present = _present_checks(connection, run_id, rows)
    added = [row for row in rows if _check_identity(row) not in present]
    updated = [row | {"row_id": present[key]} for row in rows if (key := _check_identity(row)) in present]
    if added:
        connection.execute(table.insert(), added)
    if updated:
        connection.execute(table.update().where(table.c.id == sa.bindparam("row_id")), updated)


def _check_identity(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return row["asset_key"], row["check_name"], row["partition"]


def _present_checks(
    connection: sa.Connection, run_id: str, rows: Sequence[Mapping[str, Any]]
) -> Mapping[tuple[str, str, str | None], int]:
    columns = AssetCheckExecutionsTable.c
    query = sa.select(columns.asset_key, columns.check_name, columns.partition, columns.id).where(
        columns.asset_key.in_({row["asset_key"] for row in rows}),
        columns.check_name.in_({row["check_name"] for row in rows}),
        columns.run_id == run_id,
        columns.partition.in_({row["partition"] for row in rows}),
    )
    return {(asset, name, partition): row_id for asset, name, partition, row_id in connection.execute(query)}


def _check_row(stored: Stored) -> dict[str, Any]:
    evaluation = stored.entry.get_dagster_event().asset_check_evaluation_data
    status = AssetCheckExecutionRecordStatus
    target = evaluation.target_materialization_data
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "partition": evaluation.partition,
        "run_id": stored.entry.run_id,
        "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
        "evaluation_event": stored.row["event"],  # serialized once: that is most of what an event costs
        "evaluation_event_timestamp": stored.row["timestamp"],
        "evaluation_event_storage_id": stored.storage_id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }
