"""Reads Dagster's history of the two assets: what the latest materialization of each location recorded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from tempagg_pipeline.core.processing import Recorded
from tempagg_pipeline.orchestration.asset_keys import HOURLY, HOURLY_CODE_VERSION
from tempagg_pipeline.orchestration.dagster_internals import latest_materialization_ids
from tempagg_pipeline.orchestration.event_metadata import recorded_versions

_RECORDS_AT_ONCE = 200


def latest_hourly(instance: dg.DagsterInstance, locations: Sequence[str]) -> Iterator[dg.AssetMaterialization]:
    """The latest hourly materialization of each location that has one, in no order."""
    ids = list(latest_materialization_ids(instance, HOURLY, locations).values())
    for start in range(0, len(ids), _RECORDS_AT_ONCE):
        wanted = dg.AssetRecordsFilter(asset_key=HOURLY, storage_ids=ids[start : start + _RECORDS_AT_ONCE])
        for record in instance.fetch_materializations(wanted, limit=_RECORDS_AT_ONCE).records:
            if record.asset_materialization is not None:
                yield record.asset_materialization


def recorded_by_location(instance: dg.DagsterInstance, locations: Sequence[str]) -> Mapping[str, Recorded]:
    """Which versions of raw and hourly object the latest materialization knew, where this code made it."""
    return {
        materialization.partition: versions
        for materialization in _of_this_code(latest_hourly(instance, locations))
        if materialization.partition and (versions := recorded_versions(materialization.metadata))
    }


def _of_this_code(materializations: Iterable[dg.AssetMaterialization]) -> Iterator[dg.AssetMaterialization]:
    for materialization in materializations:
        if (materialization.tags or {}).get("dagster/code_version") == HOURLY_CODE_VERSION:
            yield materialization
