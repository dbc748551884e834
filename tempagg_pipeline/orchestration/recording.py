"""Dagster's history of processed locations: the same events whether an asset run or a fan-out run made them."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from tempagg_pipeline.core.object_store import ObjectStore
from tempagg_pipeline.core.processing import Processed, Recorded
from tempagg_pipeline.core.settings import QualitySettings
from tempagg_pipeline.orchestration.asset_keys import HOURLY, HOURLY_CODE_VERSION, RAW, RAW_CODE_VERSION
from tempagg_pipeline.orchestration.checks import evaluate
from tempagg_pipeline.orchestration.dagster_internals import (
    data_version_tags,
    input_version_tags,
    latest_materialization_ids,
)
from tempagg_pipeline.orchestration.event_metadata import hourly_metadata, raw_metadata, recorded_versions

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


class Recorder:
    """Writes the history of one run.

    Attributes:
        instance: Dagster's instance, asked for ids of events just written.
        run_id: the run's.
        store: where the objects are.
        rules: thresholds of the checks.
        assets: which of the two assets the run materializes.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        run_id: str,
        store: ObjectStore,
        rules: QualitySettings,
        assets: Collection[dg.AssetKey] = (RAW, HOURLY),
    ) -> None:
        self.instance = instance
        self.run_id = run_id
        self.store = store
        self.rules = rules
        self.assets = assets

    def events(self, batch: Sequence[Processed]) -> Iterator[Event]:
        """Materializations and check evaluations of a batch, upstream first, to be yielded one by one.

        Each event must be stored before the next is asked for, as Dagster does with what an op yields: the hourly
        materialization refers to the raw one by its storage id.
        """
        locations = [processed.location for processed in batch]
        if RAW in self.assets:
            for processed in batch:
                yield self._raw(processed)
        raw_ids = latest_materialization_ids(self.instance, RAW, locations)
        if RAW in self.assets:
            yield from self._evaluations(RAW, batch, raw_ids)
        if HOURLY in self.assets:
            for processed in batch:
                yield self._hourly(processed, raw_ids.get(processed.location))
            yield from self._evaluations(HOURLY, batch, latest_materialization_ids(self.instance, HOURLY, locations))

    def recorded(self, location: str) -> Recorded | None:
        """Which versions the latest materialization of a location read and wrote."""
        wanted = dg.AssetRecordsFilter(asset_key=HOURLY, asset_partitions=[location])
        records = self.instance.fetch_materializations(wanted, limit=1).records
        latest = records[0].asset_materialization if records else None
        if latest is None or (latest.tags or {}).get("dagster/code_version") != HOURLY_CODE_VERSION:
            return None
        return recorded_versions(latest.metadata)

    def _raw(self, processed: Processed) -> dg.AssetMaterialization:
        return dg.AssetMaterialization(
            RAW,
            partition=processed.location,
            metadata=raw_metadata(processed, self.store),
            tags=data_version_tags(RAW_CODE_VERSION, _content(processed)),
        )

    def _hourly(self, processed: Processed, raw_id: int | None) -> dg.AssetMaterialization:
        version = f"{HOURLY_CODE_VERSION}-{_content(processed)}"
        return dg.AssetMaterialization(
            HOURLY,
            partition=processed.location,
            metadata=hourly_metadata(processed, self.store),
            tags=data_version_tags(HOURLY_CODE_VERSION, version) | input_version_tags(RAW, _content(processed), raw_id),
        )

    def _evaluations(
        self, asset: dg.AssetKey, batch: Sequence[Processed], ids: Mapping[str, int]
    ) -> Iterator[dg.AssetCheckEvaluation]:
        for processed in batch:
            yield from evaluate(asset, processed, self.rules, ids.get(processed.location), self.run_id)


def _content(processed: Processed) -> str:
    """Identity of the raw content: the same bytes give the same version, wherever and whenever they were uploaded."""
    return processed.aggregation.profile.sha256[:32]
