"""Feeds the fan-out op: each tick hands waiting files to as many runs as there is room for.

Nothing is lost or done twice, whoever dies when. A tick's tokens come from its cursor, which Dagster stores together
with the run requests: a tick that dies, or whose answer is lost, is followed by one with the same cursor, which claims
the same files under the same tokens again. Leases of runs that wait for their start are renewed by each tick. Files of
a run that ended without having settled them go back to the queue, as do those of a run whose worker is silent.

Leases of which this instance knows no run are let be: several instances, or workers of any kind, may share a queue.
"""

import json
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from tempagg_pipeline.core.settings import QueueSettings, settings
from tempagg_pipeline.core.work_queue import Lease, LeaseInfo, QueueStats, QueueUnavailableError, WorkQueue
from tempagg_pipeline.orchestration.asset_keys import QUEUE
from tempagg_pipeline.orchestration.fan_out import OP, fan_out
from tempagg_pipeline.orchestration.fan_out_plan import batch_sizes
from tempagg_pipeline.orchestration.resources import TemperatureQueue

LEASE_TAG = "tempagg/lease"
OWNER = "queue sensor"

_LEASES_LOOKED_AT = 1000
_HAND_OUT_SECONDS = 120.0
"""Lease of a claim until there is a run for it: longer than a tick's answer may take (60 s)."""

_WAIT_LOOK_SECONDS = 0.1

_RUN_WAITS = frozenset({dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING})


@dataclass(frozen=True)
class Cursor:
    """What a tick hands to the next.

    Attributes:
        series: distinguishes this sensor's tokens from those of any other.
        number: of the next token.
        observed: figures of the queue that were last recorded in Dagster's history.
    """

    series: str
    number: int = 0
    observed: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a cursor back; a new series where there is none yet, or none that can be read."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return cls(uuid.uuid4().hex[:12])

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def tokens(self) -> Iterator[str]:
        """The tokens that this tick may claim with, in order, without end."""
        number = self.number
        while True:
            yield f"{self.series}-{number}"
            number += 1


@dg.sensor(
    job=fan_out,
    minimum_interval_seconds=settings().queue.sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def temperature_queue_sensor(
    context: dg.SensorEvaluationContext, temperature_queue: TemperatureQueue
) -> dg.SensorResult:
    """Hands files that wait in the queue to fan-out runs, and looks after the leases of runs under way."""
    cursor = Cursor.parse(context.cursor)
    try:
        with temperature_queue.open() as queue:
            return _tick(context.instance, queue, cursor, settings().queue)
    except QueueUnavailableError as error:
        # No failed tick: the next one may well do, and a traceback every few seconds helps nobody.
        return dg.SensorResult(skip_reason=f"The queue can't be reached: {error}", cursor=context.cursor)


def _failed_fan_out(context: dg.RunFailureSensorContext, temperature_queue: TemperatureQueue) -> dg.SkipReason:
    """Gives the files of a failed fan-out run back to the queue at once."""
    run = context.dagster_run
    try:
        with temperature_queue.open() as queue:
            returned = queue.release(run.tags[LEASE_TAG], reason=f"run {run.run_id} failed")
    except KeyError:
        return dg.SkipReason(f"run {run.run_id} was not started by the queue's sensor: it holds no files")
    except QueueUnavailableError as error:
        return dg.SkipReason(f"The queue can't be reached, a later tick of the queue sensor will see to it: {error}")
    count = len(returned.waiting) + len(returned.dead)
    return dg.SkipReason(f"{count:,} files of run {run.run_id} went back to the queue")


with warnings.catch_warnings():
    # The decorator itself passes a parameter of its own that is in beta.
    warnings.simplefilter("ignore", dg.BetaWarning)
    failed_fan_out_sensor = dg.run_failure_sensor(
        name="failed_fan_out_sensor", monitored_jobs=[fan_out], default_status=dg.DefaultSensorStatus.RUNNING
    )(_failed_fan_out)


def _tick(instance: dg.DagsterInstance, queue: WorkQueue, cursor: Cursor, config: QueueSettings) -> dg.SensorResult:
    runs = _look_after(instance, queue)
    _end_silent(instance, queue, config.lease_seconds)
    queue.reclaim_expired()
    live = [lease for lease in queue.leases(_LEASES_LOOKED_AT) if lease.token in runs or _is_a_sensors(lease)]
    stats = queue.stats() if live else _stats_when_there_is_work(queue, config.sensor_wait_seconds)
    batches = list(_claim(queue, cursor, live, stats.ready, config))
    observed, events = _observation(cursor, stats)
    return dg.SensorResult(
        run_requests=[_run_request(lease) for lease in batches],
        skip_reason=None if batches else _describe(stats, len(live), config),
        cursor=str(Cursor(cursor.series, cursor.number + len(batches), observed)),
        asset_events=events,
    )


def _stats_when_there_is_work(queue: WorkQueue, limit_seconds: float) -> QueueStats:
    """Wait a little for files while no run is under way: else they wait for the next tick, which is seconds away."""
    deadline = time.monotonic() + limit_seconds
    while not (stats := queue.stats()).ready and time.monotonic() < deadline:
        time.sleep(_WAIT_LOOK_SECONDS)
    return stats


def _look_after(instance: dg.DagsterInstance, queue: WorkQueue) -> Mapping[str, dg.DagsterRun]:
    """Renew the leases of runs that wait for their start, even expired ones; end those of runs that are over.

    Returns:
        the runs that leases belong to, by token.
    """
    leases = queue.leases(_LEASES_LOOKED_AT)
    runs = _runs_by_token(instance, [lease.token for lease in leases])
    for lease in leases:
        run = runs.get(lease.token)
        if run is None:
            continue
        if run.is_finished:
            queue.release(lease.token, reason=f"run {run.run_id} ended: {run.status.value}")
        elif run.status in _RUN_WAITS:
            queue.extend(lease.token)
    return runs


def _end_silent(instance: dg.DagsterInstance, queue: WorkQueue, lease_seconds: float) -> None:
    """Have runs counted as failed that for a lease's time have kept no lease alive and written no event.

    A worker that was killed together with the process that watched it would else keep a place among the runs for ever.
    """
    before = datetime.now(UTC) - timedelta(seconds=lease_seconds)
    wanted = dg.RunsFilter(job_name=fan_out.name, statuses=[dg.DagsterRunStatus.STARTED], updated_before=before)
    started = [run for run in instance.get_runs(wanted) if LEASE_TAG in run.tags]
    alive = {lease.token for lease in queue.leases(_LEASES_LOOKED_AT) if lease.expires_in_seconds > 0}
    for run in started:
        token = run.tags[LEASE_TAG]
        if token not in alive and _last_event(instance, run) < before.timestamp():
            queue.release(token, reason=f"run {run.run_id} was silent for longer than its lease")
            instance.report_run_failed(run, "Its worker keeps no lease alive: it is taken for dead.")


def _last_event(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    """When the run wrote an event last, in seconds since the epoch."""
    records = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return max((record.timestamp for record in records), default=0.0)


def _is_a_sensors(lease: LeaseInfo) -> bool:
    return lease.owner == OWNER and not lease.started


def _runs_by_token(instance: dg.DagsterInstance, tokens: Sequence[str]) -> dict[str, dg.DagsterRun]:
    if not tokens:
        return {}
    wanted = dg.RunsFilter(job_name=fan_out.name, tags={LEASE_TAG: list(tokens)})
    # A re-executed run has the tags of the first one; the first one is what the lease was given to.
    return {run.tags[LEASE_TAG]: run for run in instance.get_runs(wanted)}


def _claim(
    queue: WorkQueue, cursor: Cursor, live: Sequence[LeaseInfo], ready: int, config: QueueSettings
) -> Iterator[Lease]:
    """Claim batches: first again what a tick with this cursor had claimed in vain, then what is ready."""
    unstarted = {lease.token for lease in live if not lease.started}
    tokens = cursor.tokens()
    token = next(tokens)
    hand_out_seconds = min(_HAND_OUT_SECONDS, config.lease_seconds)
    while token in unstarted:
        lease = queue.claim(config.files_per_run_max, owner=OWNER, lease_seconds=hand_out_seconds, token=token)
        token = next(tokens)
        if lease:
            yield lease
    for size in batch_sizes(ready, config.parallelism - len(live), config.files_per_run_max):
        lease = queue.claim(size, owner=OWNER, lease_seconds=hand_out_seconds, token=token)
        if lease is None:
            return
        token = next(tokens)
        yield lease


def _run_request(lease: Lease) -> dg.RunRequest:
    config = {
        "lease": lease.token,
        "files": [item.name for item in lease.items if not item.attempts],
        "suspects": [item.name for item in lease.items if item.attempts],
    }
    return dg.RunRequest(
        run_key=lease.token,
        run_config={"ops": {OP: {"config": config}}},
        tags={
            LEASE_TAG: lease.token,
            "tempagg/files": str(len(lease.items)),
            "tempagg/first_file": _printable(lease.items[0].name),
            "tempagg/attempt": str(1 + max(item.attempts for item in lease.items)),
        },
    )


def _printable(text: str) -> str:
    """For a tag: the database may refuse control characters, and a name that nobody can have must not stop a tick."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _observation(cursor: Cursor, stats: QueueStats) -> tuple[str, list[dg.AssetObservation]]:
    """An observation of the queue, so that the UI plots its figures over time; none while they stay the same."""
    figures = {"ready": stats.ready, "delayed": stats.delayed, "leased": stats.leased, "dead_letters": stats.dead}
    observed = json.dumps(figures)
    if observed == cursor.observed:
        return observed, []
    metadata = figures | {"oldest_age_seconds": round(stats.oldest_seconds, 1)}
    return observed, [dg.AssetObservation(QUEUE, metadata=metadata)]


def _describe(stats: QueueStats, busy: int, config: QueueSettings) -> str:
    parts = [
        f"{stats.ready:,} ready",
        f"{stats.delayed:,} delayed",
        f"{stats.leased:,} leased to {busy} of {config.parallelism} runs",
        f"{stats.dead:,} dead letters",
    ]
    if stats.oldest_seconds:
        parts.append(f"the oldest waits for {stats.oldest_seconds:,.0f} s")
    return ", ".join(parts)
