"""The two assets, partitioned by location: raw minute temperatures, and the hourly statistics made from them.

One computation makes both, in one pass over the raw object: a run of many locations then costs one step, a bad
location fails alone, and either asset can be selected by itself.
"""

import inspect
import warnings
from collections.abc import Iterator

import dagster as dg

from tempagg_pipeline.core.batch import Failed, in_batches, process_all
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.orchestration.asset_keys import GROUP, HOURLY, HOURLY_CODE_VERSION, RAW, RAW_CODE_VERSION
from tempagg_pipeline.orchestration.checks import CHECKS
from tempagg_pipeline.orchestration.dagster_internals import NO_AUTOMATIC_MATERIALIZATION
from tempagg_pipeline.orchestration.event_batches import EventWriter
from tempagg_pipeline.orchestration.event_metadata import HOURLY_SCHEMA, RAW_SCHEMA
from tempagg_pipeline.orchestration.partitions import locations
from tempagg_pipeline.orchestration.recording import Recorder
from tempagg_pipeline.orchestration.resources import TemperatureStore

IO_MANAGER = "csv_blob_io_manager"
RECORDED_AT_ONCE = 50
RECORDED_EVERY_SECONDS = 2.0

raw_temperature = dg.AssetSpec(
    RAW,
    description=inspect.cleandoc("""
        Minute temperatures of one location, as its station sent them: `<location>.csv` with `Datetime`
        (`YYYY-MM-DD HH:MM:SS`) and `Temperature` (°C, blank where a reading is missing), in any order.

        Taken over from the landing place where one is configured; else validated where it is, and never altered. The
        data version is that of the content: the same bytes uploaded again leave the hourly partition fresh.
    """),
    group_name=GROUP,
    kinds={"csv"},
    code_version=RAW_CODE_VERSION,
    metadata={"dagster/column_schema": RAW_SCHEMA, "dagster/io_manager_key": IO_MANAGER},
    skippable=True,
)

hourly_temperature = dg.AssetSpec(
    HOURLY,
    deps=[RAW],
    description=inspect.cleandoc("""
        Hourly statistics of one location: `<location>_aggregated.csv` with `Datetime` (start of the hour), `mean`,
        `std` (sample, n - 1), `min`, `max` (°C) and `count` of readings.

        Every hour from the first to the last timestamp has a row; one without readings has blank statistics and count
        0. Replaced in one atomic step, and only when the whole raw object is good.
    """),
    group_name=GROUP,
    kinds={"csv", "numpy"},
    code_version=HOURLY_CODE_VERSION,
    metadata={"dagster/column_schema": HOURLY_SCHEMA, "dagster/io_manager_key": IO_MANAGER},
    skippable=True,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)
    _single_run = dg.BackfillPolicy.single_run()


@dg.multi_asset(
    specs=[raw_temperature, hourly_temperature],
    partitions_def=locations,
    backfill_policy=_single_run,
    check_specs=[check.spec() for check in CHECKS],
    can_subset=True,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
)
def temperature(
    context: dg.AssetExecutionContext, temperature_store: TemperatureStore
) -> Iterator[dg.MaterializeResult | dg.Output]:
    """Process the run's locations; one that fails does so alone, and the run's error names each with its reason."""
    processor, selected = temperature_store.processor, context.selected_asset_keys
    recorder = Recorder(EventWriter(context), processor.store, temperature_store.quality, selected)

    def process(location: str) -> Processed | None:
        return processor.process(location, ingest=RAW in selected, write_hourly=HOURLY in selected)

    failures: list[Failed] = []
    outcomes = process_all(context.partition_keys, process, temperature_store.threads)
    for batch in in_batches(outcomes, RECORDED_AT_ONCE, RECORDED_EVERY_SECONDS):
        recorder.record([outcome for outcome in batch if isinstance(outcome, Processed)])
        failed = [outcome for outcome in batch if isinstance(outcome, Failed)]
        recorder.record_failures(failed)
        failures += failed
    if failures:
        raise failure_of(failures, len(context.partition_keys))
    for key in (RAW, HOURLY):
        if key in selected:
            yield dg.MaterializeResult(key, metadata=NO_AUTOMATIC_MATERIALIZATION)
    for name, spec in context.assets_def.check_specs_by_output_name.items():
        if spec.key in context.selected_asset_check_keys:
            yield dg.Output(None, name)


def failure_of(failures: list[Failed], processed: int) -> dg.Failure:
    """The failure of a run: every failed location with its reason; retried only where that could help."""
    reasons = "\n".join(f"- {failed.reason}" for failed in sorted(failures, key=lambda failed: failed.location))
    return dg.Failure(
        f"{len(failures):,} of {processed:,} locations failed:\n{reasons}",
        metadata={"failed_locations": dg.MetadataValue.json(sorted(failed.location for failed in failures))},
        allow_retries=not all(failed.is_permanent for failed in failures),
    )
