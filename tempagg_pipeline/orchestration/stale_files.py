"""Finds raw files that nobody has put on the queue and does so: on a schedule, or as files come in.

Both are off until somebody turns them on; where producers push file names themselves, neither is needed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from tempagg_pipeline.core.inventory import Inventory
from tempagg_pipeline.core.locations import raw_name
from tempagg_pipeline.core.object_store import StoreUnavailableError
from tempagg_pipeline.core.work_queue import QueueUnavailableError
from tempagg_pipeline.orchestration.partitions import PARTITIONS_NAME, add_requests
from tempagg_pipeline.orchestration.resources import TemperatureQueue, TemperatureStore

_LOOK_EVERY_SECONDS = 60
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dg.op
def enqueue_stale_files(
    context: dg.OpExecutionContext, temperature_store: TemperatureStore, temperature_queue: TemperatureQueue
) -> None:
    """Put each file on the queue that is newer than its hourly file, or has none; dead letters stay what they are."""
    from tempagg_pipeline.core.catch_up import files_to_catch_up

    inventory = temperature_store.inventory()
    with temperature_queue.open() as queue:
        enqueued = queue.enqueue(files_to_catch_up(inventory, queue))
    context.add_output_metadata({"locations": len(inventory.raw), "enqueued": enqueued})


@dg.job(executor_def=dg.in_process_executor)
def enqueue_stale() -> None:
    """Catch up: files without an up-to-date result go to the queue, from where fan-out runs take them."""
    enqueue_stale_files()


enqueue_stale_schedule = dg.ScheduleDefinition(
    name="enqueue_stale_schedule",
    job=enqueue_stale,
    cron_schedule="15 * * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every hour, puts files on the queue that came or changed without anybody having enqueued them.",
)


@dg.sensor(minimum_interval_seconds=_LOOK_EVERY_SECONDS, default_status=dg.DefaultSensorStatus.STOPPED)
def new_files_sensor(
    context: dg.SensorEvaluationContext, temperature_store: TemperatureStore, temperature_queue: TemperatureQueue
) -> dg.SensorResult:
    """Registers new locations and puts new or changed files on the queue. Lists the container once a tick."""
    seen = _Seen.parse(context.cursor)
    try:
        inventory = temperature_store.inventory()
        new = seen.newer(inventory)
        with temperature_queue.open() as queue:
            queue.enqueue(raw_name(location) for location in new)
    except (StoreUnavailableError, QueueUnavailableError) as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    known = set(context.instance.get_dynamic_partitions(PARTITIONS_NAME))
    return dg.SensorResult(
        dynamic_partitions_requests=add_requests(sorted(inventory.raw.keys() - known)),
        skip_reason=f"{len(new):,} of {len(inventory.raw):,} files were new or changed and are on the queue",
        cursor=str(seen.after(inventory)),
    )


@dataclass(frozen=True)
class _Seen:
    """Up to when changes were seen. Several files may change within one tick of the store's clock: those are named."""

    until: datetime = _LONG_AGO
    at_that_time: Sequence[str] = field(default=())

    @classmethod
    def parse(cls, text: str | None) -> "_Seen":
        if not text:
            return cls()
        cursor = json.loads(text)
        return cls(datetime.fromisoformat(cursor["until"]), tuple(cursor["at_that_time"]))

    def __str__(self) -> str:
        return json.dumps({"until": self.until.isoformat(), "at_that_time": list(self.at_that_time)})

    def newer(self, inventory: Inventory) -> list[str]:
        """Locations whose raw file changed after that."""
        named = set(self.at_that_time)
        return sorted(
            location
            for location, raw in inventory.raw.items()
            if (raw.modified or _LONG_AGO) > self.until or (raw.modified == self.until and location not in named)
        )

    def after(self, inventory: Inventory) -> "_Seen":
        """What a next look need not see again."""
        until = max([self.until, *(raw.modified for raw in inventory.raw.values() if raw.modified)])
        return _Seen(until, sorted(name for name, raw in inventory.raw.items() if raw.modified == until))
