"""Asset checks of raw and hourly partitions: which there are, how severe, and their evaluation per location.

They run with the asset itself, on what is in memory anyway. ERROR is for data that must not be used; WARN for data
that is what the station sent, but that somebody should look at. None blocks: what breaks the input contract never
becomes a materialization in the first place.
"""

import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from tempagg_pipeline.core import quality
from tempagg_pipeline.core.batch import Failed
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.core.settings import QualitySettings
from tempagg_pipeline.orchestration.asset_keys import HOURLY, RAW
from tempagg_pipeline.orchestration.dagster_internals import check_target
from tempagg_pipeline.orchestration.partitions import locations

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True)
class LocationCheck:
    """One check of one asset, evaluated for each location.

    Attributes:
        asset: the asset it belongs to.
        judge: decides, and says where.
        severity: of a failed evaluation.
    """

    asset: dg.AssetKey
    judge: quality.Judgement
    severity: dg.AssetCheckSeverity

    @property
    def name(self) -> str:
        """Name in the UI."""
        return self.judge.__name__

    def spec(self) -> dg.AssetCheckSpec:
        """Its declaration, partitioned as its asset is: else one location's pass would hide another's failure."""
        with warnings.catch_warnings():
            # Partitioned checks are in preview since 1.13; the tests hold what we rely on.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.AssetCheckSpec(
                self.name, asset=self.asset, description=self.judge.__doc__, partitions_def=locations
            )


READABLE = LocationCheck(RAW, quality.readable, WARN)
CHECKS = (
    READABLE,
    LocationCheck(RAW, quality.no_duplicate_timestamps, WARN),
    LocationCheck(HOURLY, quality.complete, WARN),
    LocationCheck(HOURLY, quality.plausible, ERROR),
    LocationCheck(HOURLY, quality.statistics_in_order, ERROR),
    LocationCheck(HOURLY, quality.hours_contiguous, ERROR),
)


def evaluate(
    asset: dg.AssetKey, processed: Processed, rules: QualitySettings, storage_id: int | None, run_id: str
) -> Iterator[dg.AssetCheckEvaluation]:
    """Evaluate an asset's checks for one location.

    Args:
        asset: whose checks.
        processed: the location and what was found.
        rules: thresholds.
        storage_id: of the materialization that is judged.
        run_id: of the run that made it.
    """
    target = check_target(storage_id, run_id, time.time())
    for check in CHECKS:
        if check.asset == asset:
            finding = check.judge(processed, rules)
            yield dg.AssetCheckEvaluation(
                asset_key=asset,
                check_name=check.name,
                passed=finding.passed,
                severity=check.severity,
                description=finding.summary,
                metadata=_metadata(finding.facts),
                target_materialization_data=target,  # pyright: ignore[reportArgumentType]
                partition=processed.location,
            )


def evaluate_failure(failed: Failed) -> dg.AssetCheckEvaluation:
    """A failed ``readable`` check, so that a location that never materialized still shows why."""
    return dg.AssetCheckEvaluation(
        asset_key=RAW,
        check_name=READABLE.name,
        passed=False,
        severity=ERROR,
        description=failed.reason,
        metadata={"reason": dg.MetadataValue.text(failed.reason)},
        partition=failed.location,
    )


def _metadata(facts: Mapping[str, int | float | str]) -> dict[str, dg.MetadataValue]:
    def value(fact: int | float | str) -> dg.MetadataValue:
        if isinstance(fact, str):
            return dg.MetadataValue.text(fact)
        return dg.MetadataValue.int(fact) if isinstance(fact, int) else dg.MetadataValue.float(fact)

    return {name: value(fact) for name, fact in facts.items()}
