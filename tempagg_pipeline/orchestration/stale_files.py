"""Finds raw files that nobody has put on the queue and does so: on a schedule, or as files come in.

Both are off until somebody turns them on; where producers push file names themselves, neither is needed.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from tempagg_pipeline.core.inventory import Inventory
from tempagg_pipeline.core.locations import raw_name
from tempagg_pipeline.core.object_store import ObjectInfo, StoreUnavailableError
from tempagg_pipeline.core.work_queue import QueueUnavailableError
from tempagg_pipeline.orchestration.partitions import PARTITIONS_NAME, add_requests
from tempagg_pipeline.orchestration.resources import TemperatureQueue, TemperatureStore

if TYPE_CHECKING:
    from tempagg_pipeline.core.work_queue import WorkQueue

_LOOK_EVERY_SECONDS = 60
_LISTED_LATE = timedelta(minutes=2)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


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
    known = set(context.instance.get_dynamic_partitions(PARTITIONS_NAME))
    try:
        inventory = temperature_store.inventory()
        with temperature_queue.open() as queue:
            files = _files_to_enqueue(seen, inventory, known, queue)
            queue.enqueue(files)
    except (StoreUnavailableError, QueueUnavailableError) as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    return dg.SensorResult(
        dynamic_partitions_requests=add_requests(sorted(inventory.raw.keys() - known)),
        skip_reason=f"{len(files):,} of {len(inventory.raw):,} files were new or changed and are on the queue",
        cursor=str(_Seen.all_of(inventory)),
    )


def _files_to_enqueue(
    seen: "_Seen | None", inventory: Inventory, known: Collection[str], queue: "WorkQueue"
) -> Sequence[str]:
    """Names of raw files that changed since the last look; at the first look, of those without an up-to-date result.

    A file that nobody knew is new, whatever its time: one that was moved or copied here may keep an old one.
    """
    from tempagg_pipeline.core.catch_up import files_to_catch_up

    if seen is None:
        return files_to_catch_up(inventory, queue)
    changed = seen.newer(inventory)
    return [raw_name(location) for location in sorted(changed | (inventory.raw.keys() - known))]


@dataclass(frozen=True)
class _Seen:
    """What the last look saw: all changes up to a time, and which versions there were of what changed shortly before.

    The last minutes are compared by version, for two changes may fall into one tick of the store's clock, and a change
    may be listed a moment later than its time says.
    """

    until: datetime
    versions: Mapping[str, str]

    @classmethod
    def parse(cls, text: str | None) -> "_Seen | None":
        try:
            cursor = json.loads(text or "")
            return cls(datetime.fromisoformat(cursor["until"]), cursor["versions"])
        except (ValueError, KeyError):
            return None

    @classmethod
    def all_of(cls, inventory: Inventory) -> "_Seen":
        until = max((_changed(raw) for raw in inventory.raw.values()), default=_LONG_AGO)
        recent = {name: raw.etag for name, raw in inventory.raw.items() if _changed(raw) > until - _LISTED_LATE}
        return cls(until, recent)

    def __str__(self) -> str:
        return json.dumps({"until": self.until.isoformat(), "versions": self.versions})

    def newer(self, inventory: Inventory) -> set[str]:
        """Locations whose raw file changed since."""
        return {
            location
            for location, raw in inventory.raw.items()
            if _changed(raw) > self.until - _LISTED_LATE and raw.etag != self.versions.get(location)
        }


def _changed(raw: ObjectInfo) -> datetime:
    return raw.modified or _LONG_AGO
