"""Where the time of a fan-out went, by the timestamps of Dagster's own ticks and events."""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType

SENSOR = "temperature_queue_sensor"
JOB = "fan_out"

_PROCESS_STARTED = "Started process for run"


class RunTimes(NamedTuple):
    """Seconds of one run's way, one after the other; then two figures of its op."""

    tick_wait: float
    """From the push to the start of the tick that asked for the run."""
    tick: float
    """From there until the run is in the run queue."""
    run_queue: float
    """Until the daemon takes it out."""
    process_start: float
    """Until the run's process is up."""
    run_start: float
    """Until the op begins: code loaded, run started."""
    op: float
    """The op itself."""
    recording: float
    """Of the op, its thread's time for events."""
    files: int


class Fan(NamedTuple):
    """The runs that one push of files led to, as means over the runs."""

    runs: int
    means: RunTimes
    op_seconds: float
    """Of all runs together."""
    first_op: float
    """From the push to the beginning of the first op."""


def queue_ticks(instance: dg.DagsterInstance, after: float) -> Sequence[InstigatorTick]:
    """The queue sensor's ticks that began after a time."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name == SENSOR:
            return instance.get_ticks(state.instigator_origin_id, state.selector_id, after=after)
    return []


def fan_of(instance: dg.DagsterInstance, pushed: float) -> Fan:
    """The runs since a push.

    Args:
        instance: its history.
        pushed: when the files were pushed, in seconds since 1970.
    """
    # A tick that was under way at the push may have seen it.
    ticks = {run: tick.timestamp for tick in queue_ticks(instance, pushed - 60) for run in tick.run_ids}
    moments = list(_runs_since(instance, pushed))
    times = [_times(ticks.get(run_id, pushed), pushed, at) for run_id, at in moments]
    return Fan(
        len(times),
        RunTimes(*map(statistics.mean, zip(*times, strict=True))),
        sum(run.op for run in times),
        min(at["STEP_START"] for _, at in moments) - pushed,
    )


def _runs_since(instance: dg.DagsterInstance, pushed: float) -> Iterator[tuple[str, dict[str, float]]]:
    for run in instance.get_runs(dg.RunsFilter(job_name=JOB)):
        at: dict[str, float] = {}
        for entry in instance.all_logs(run.run_id):
            event = entry.dagster_event
            if event is None:
                continue
            kind = event.event_type_value
            if kind == "ENGINE_EVENT" and _PROCESS_STARTED in (event.message or ""):
                kind = _PROCESS_STARTED
            at.setdefault(kind, entry.timestamp)
            if kind == "STEP_OUTPUT":
                figures = event.step_output_data.metadata
                at["recording"] = float(figures["recording_seconds"].value or 0)  # pyright: ignore[reportArgumentType]
                at["files"] = int(figures["processed"].value or 0)  # pyright: ignore[reportArgumentType]
        if at["PIPELINE_ENQUEUED"] > pushed:
            if not run.is_success:
                log = "\n".join(entry.get_dagster_event().message or "" for entry in instance.all_logs(run.run_id))
                raise RuntimeError(f"run {run.run_id} ended: {run.status.value}\n{log}")
            yield run.run_id, at


def _times(tick: float, pushed: float, at: dict[str, float]) -> RunTimes:
    tick = max(tick, pushed)
    enqueued, dequeued, begun = at["PIPELINE_ENQUEUED"], at["PIPELINE_STARTING"], at["STEP_START"]
    process = at.get(_PROCESS_STARTED, dequeued)
    return RunTimes(
        tick_wait=tick - pushed,
        tick=enqueued - tick,
        run_queue=dequeued - enqueued,
        process_start=process - dequeued,
        run_start=begun - process,
        op=at["STEP_OUTPUT"] - begun,
        recording=at["recording"],
        files=int(at["files"]),
    )
