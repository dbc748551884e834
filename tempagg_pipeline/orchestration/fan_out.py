"""The sensor-fed op: one run takes a batch of leased files from the queue to hourly objects and history.

The lease is what makes it safe. The op takes it over before it does anything, so that a late run does not work on what
was given to another; a heartbeat keeps it while the op works; a file leaves the queue when its output and its history
are stored. A run that dies leaves its files to the queue.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
from pydantic import Field

from tempagg_pipeline.core.batch import Failed, Outcome, Unchanged, in_batches, process_all
from tempagg_pipeline.core.locations import InvalidNameError, location_of, raw_name
from tempagg_pipeline.core.object_store import ObjectNotFoundError
from tempagg_pipeline.core.processing import Processed
from tempagg_pipeline.core.work_queue.held_lease import HeldLease
from tempagg_pipeline.orchestration.assets import RECORDED_AT_ONCE, RECORDED_EVERY_SECONDS, failure_of
from tempagg_pipeline.orchestration.event_batches import EventWriter
from tempagg_pipeline.orchestration.history import recorded_by_location
from tempagg_pipeline.orchestration.partitions import register_locations
from tempagg_pipeline.orchestration.recording import Recorder
from tempagg_pipeline.orchestration.resources import TemperatureQueue, TemperatureStore

FAN_OUT_JOB = "fan_out"
OP = "process_leased_files"


class LeasedFiles(dg.Config):
    """What a run is to process.

    Attributes:
        lease: token under which the files were claimed.
        files: bare file names, as producers pushed them.
        suspects: files of which an attempt failed before; they come last and one at a time, so that one which takes its
            worker down takes no other with it.
    """

    lease: str
    files: list[str]
    suspects: list[str] = Field(default_factory=list)


@dg.op(name=OP)
def process_leased_files(
    context: dg.OpExecutionContext,
    config: LeasedFiles,
    temperature_store: TemperatureStore,
    temperature_queue: TemperatureQueue,
) -> None:
    """Process each file whose lease this run can take over; one that fails does so alone."""
    names = [*config.files, *config.suspects]
    with temperature_queue.take_over(config.lease, names, owner=context.run_id) as lease:
        tally = _process(context, temperature_store, lease, suspects=set(config.suspects))
    not_leased = len(names) - tally.settled
    if not_leased:
        context.log.warning(f"{not_leased:,} files were not leased to this run any more: left alone")
    context.add_output_metadata(tally.metadata(not_leased))
    if tally.failures:
        raise failure_of(tally.failures, tally.settled)


@dg.job(
    name=FAN_OUT_JOB,
    executor_def=dg.in_process_executor,
    # The queue is what tries again: Dagster's own retries would start a run whose lease is over.
    tags={"dagster/max_retries": "0"},
)
def fan_out() -> None:
    """Files from the queue to hourly objects, a batch a run. Started by the sensor `temperature_queue_sensor`."""
    process_leased_files()


@dataclass
class _Tally:
    """What became of a run's files."""

    processed: int = 0
    unchanged: int = 0
    rows: int = 0
    failures: list[Failed] = field(default_factory=list)
    recording_seconds: float = 0.0
    """Of the run's time, what writing history took; other files are read and written meanwhile."""
    started: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> int:
        """Files whose lease this run has ended."""
        return self.processed + self.unchanged + len(self.failures)

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes."""
        done = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
        self.processed += len(done)
        self.rows += sum(outcome.aggregation.profile.rows for outcome in done)
        self.unchanged += sum(isinstance(outcome, Unchanged) for outcome in outcomes)
        self.failures += [outcome for outcome in outcomes if isinstance(outcome, Failed)]

    def metadata(self, not_leased: int) -> dict[str, int | float]:
        """Figures for the run's page."""
        return {
            "processed": self.processed,
            "unchanged": self.unchanged,
            "failed": len(self.failures),
            "not_leased": not_leased,
            "rows": self.rows,
            "seconds": round(time.monotonic() - self.started, 3),
            "recording_seconds": round(self.recording_seconds, 3),
        }


def _process(
    context: dg.OpExecutionContext, store: TemperatureStore, lease: HeldLease, suspects: Collection[str]
) -> _Tally:
    recorder = Recorder(EventWriter(context), store.processor.store, store.quality)
    tally = _Tally()

    def work_through(names: Sequence[str], threads: int, at_once: int) -> None:
        outcomes = _outcomes(context, store, lease, names, threads)
        for batch in in_batches(outcomes, at_once, RECORDED_EVERY_SECONDS):
            started = time.monotonic()
            _record(context.instance, recorder, batch)
            tally.recording_seconds += time.monotonic() - started
            _settle(lease, batch)
            tally.add(batch)

    work_through([name for name in lease.taken if name not in suspects], store.threads, RECORDED_AT_ONCE)
    for name in lease.taken:
        if name in suspects:
            work_through([name], threads=1, at_once=1)
    return tally


def _outcomes(
    context: dg.OpExecutionContext, store: TemperatureStore, lease: HeldLease, names: Sequence[str], threads: int
) -> Iterator[Outcome]:
    locations: list[str] = []
    for name in names:
        try:
            locations.append(location_of(name))
        except InvalidNameError as error:
            yield Failed(name, error)
    recorded = recorded_by_location(context.instance, locations)

    def process(location: str) -> Processed | None:
        return store.processor.process(location, unless_recorded=recorded.get(location))

    begun = (location for location in locations if lease.begin(raw_name(location)))
    yield from process_all(begun, process, threads)


def _record(instance: dg.DagsterInstance, recorder: Recorder, outcomes: Sequence[Outcome]) -> None:
    """Write history, of locations that exist: a name that nobody has a file for does not become a partition."""
    processed = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed) and _has_object(outcome)]
    if processed or failed:
        register_locations(instance, [outcome.location for outcome in (*processed, *failed)])
    recorder.record(processed)
    recorder.record_failures(failed)


def _has_object(failed: Failed) -> bool:
    return not isinstance(failed.error, InvalidNameError | ObjectNotFoundError)


def _settle(lease: HeldLease, outcomes: Sequence[Outcome]) -> None:
    """End the leases: what is done leaves the queue, what failed goes back to it or to the dead letters."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    lease.complete([raw_name(outcome.location) for outcome in outcomes if not isinstance(outcome, Failed)])
    lease.fail({_file(outcome): outcome.reason for outcome in failed if outcome.is_permanent}, permanent=True)
    lease.fail({_file(outcome): outcome.reason for outcome in failed if not outcome.is_permanent}, permanent=False)


def _file(failed: Failed) -> str:
    return failed.location if isinstance(failed.error, InvalidNameError) else raw_name(failed.location)
