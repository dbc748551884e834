"""Dagster's history of processed locations: the same events whether an asset run or a fan-out run made them."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from tempagg_pipeline.core.batch import Failed
from tempagg_pipeline.core.object_store import ObjectStore
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.core.settings import QualitySettings
from tempagg_pipeline.orchestration.asset_keys import HOURLY, HOURLY_CODE_VERSION, RAW, RAW_CODE_VERSION
from tempagg_pipeline.orchestration.checks import evaluate, evaluate_failure
from tempagg_pipeline.orchestration.dagster_internals import (
    data_version_tags,
    input_version_tags,
    latest_materialization_ids,
)
from tempagg_pipeline.orchestration.event_batches import EventWriter
from tempagg_pipeline.orchestration.event_metadata import hourly_metadata, raw_metadata


class Recorder:
    """Writes the history of one run.

    Attributes:
        writer: stores the events of the run's step.
        store: where the objects are.
        rules: thresholds of the checks.
        assets: which of the two assets the run materializes.
    """

    def __init__(
        self,
        writer: EventWriter,
        store: ObjectStore,
        rules: QualitySettings,
        assets: Collection[dg.AssetKey] = (RAW, HOURLY),
    ) -> None:
        self.writer = writer
        self.store = store
        self.rules = rules
        self.assets = assets

    def record(self, batch: Sequence[Processed]) -> None:
        """Store materializations and check evaluations of a batch, upstream first.

        Later events refer to earlier ones by their storage ids: the hourly materialization to the raw one it was made
        from, a check to what it looked at.
        """
        locations = [processed.location for processed in batch]
        checks: list[dg.AssetCheckEvaluation] = []
        raw_ids: Mapping[str, int] = {}
        if RAW in self.assets:
            raw_ids = self._store_materializations(locations, [self._raw(processed) for processed in batch])
            checks += self._evaluations(RAW, batch, raw_ids)
        elif batch:
            raw_ids = latest_materialization_ids(self.writer.instance, RAW, locations)
        if HOURLY in self.assets:
            hourly = [self._hourly(processed, raw_ids.get(processed.location)) for processed in batch]
            checks += self._evaluations(HOURLY, batch, self._store_materializations(locations, hourly))
        self.writer.store(checks)

    def record_failures(self, failures: Sequence[Failed]) -> None:
        """Store a failed check for each location that could not be processed, so that the UI shows why."""
        self.writer.store([evaluate_failure(failed) for failed in failures])

    def _store_materializations(
        self, locations: Sequence[str], events: Sequence[dg.AssetMaterialization]
    ) -> Mapping[str, int]:
        return dict(zip(locations, self.writer.store(events), strict=False))

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
            yield from evaluate(asset, processed, self.rules, ids.get(processed.location), self.writer.run_id)


def _content(processed: Processed) -> str:
    """Identity of the raw content: the same bytes give the same version, wherever and whenever they were uploaded."""
    return processed.aggregation.profile.sha256[:32]
