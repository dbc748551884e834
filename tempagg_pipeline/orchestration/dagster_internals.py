"""What leans on something that Dagster does not promise, each with the reason; beside it only ``event_rows.py`` does.

``test_assets.py`` and ``test_graphql.py`` hold what we rely on, with Dagster 1.13.27.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

NO_AUTOMATIC_MATERIALIZATION: Mapping[str, bool] = {"__source_asset_observation__": True}
"""Metadata of an output for which Dagster writes no materialization event of its own.

A run over several partitions writes one event a partition, all with the same data version and all or none of them. We
record each location's own version, metadata and success, so we write the events; the outputs still have to be yielded,
or Dagster would skip what lies downstream in the same run.
"""


def data_version_tags(code_version: str, data_version: str) -> dict[str, str]:
    """Tags by which Dagster tells versions of a materialization apart, as it writes them itself for its own events."""
    return {
        "dagster/code_version": code_version,
        "dagster/data_version": data_version,
        "dagster/data_version_is_user_provided": "true",
    }


def input_version_tags(key: dg.AssetKey, data_version: str, storage_id: int | None) -> dict[str, str]:
    """Tags that say which version of an upstream partition went in; Dagster compares them to find stale partitions."""
    name = key.to_user_string()
    return {
        f"dagster/input_data_version/{name}": data_version,
        f"dagster/input_event_pointer/{name}": "NULL" if storage_id is None else str(storage_id),
    }


def latest_materialization_ids(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Sequence[str]
) -> Mapping[str, int]:
    """Storage id of each partition's latest materialization, in one query; the public API asks one by one."""
    return instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions=set(partitions)
    )


def check_target(storage_id: int | None, run_id: str, timestamp: float) -> object | None:
    """Which materialization a check looked at; by it the UI tells a result of the latest data from an outdated one."""
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    if storage_id is None:
        return None
    return AssetCheckEvaluationTargetMaterializationData(storage_id=storage_id, run_id=run_id, timestamp=timestamp)
