"""Locations as dynamic partitions: a new station appears without a code change."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import dagster as dg

from tempagg_pipeline.core.inventory import take_inventory
from tempagg_pipeline.core.object_store import open_landing, open_store
from tempagg_pipeline.core.settings import settings

PARTITIONS_NAME = "location"

# SQLite refuses statements with tens of thousands of keys (dagster-io/dagster#16260).
_KEYS_AT_ONCE = 500


class LocationPartitions(dg.DynamicPartitionsDefinition):
    """Dynamic partitions that look in the store before they call a key unknown.

    Dagster's command line refuses dynamic partitions that no one has registered (dagster-io/dagster#15499). Here a key
    asked for by name is looked up in the store, and all locations found there are registered, so that
    ``dagster asset materialize --partition temperature1`` and ``--partition-range`` work on a fresh instance too.
    """

    def has_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: object | None = None,
    ) -> bool:
        """Whether the location is registered, or is in the store and so is registered now."""
        with dg.partition_loading_context(current_time, dynamic_partitions_store) as context:  # pyright: ignore
            if super().has_partition_key(partition_key, current_time, context.dynamic_partitions_store):
                return True
            instance = context.dynamic_partitions_store
            if not isinstance(instance, dg.DagsterInstance):
                return False
            register_locations(instance, locations_in_store())
            return super().has_partition_key(partition_key, current_time, instance)


locations = LocationPartitions(name=PARTITIONS_NAME)


def register_locations(instance: dg.DagsterInstance, found: Iterable[str]) -> list[str]:
    """Register those locations that are new; returns them, in natural order (``station2`` before ``station10``)."""
    known = set(instance.get_dynamic_partitions(PARTITIONS_NAME))
    new = sorted(set(found) - known, key=natural)
    for start in range(0, len(new), _KEYS_AT_ONCE):
        instance.add_dynamic_partitions(PARTITIONS_NAME, new[start : start + _KEYS_AT_ONCE])
    return new


def add_requests(new: Sequence[str]) -> list[dg.AddDynamicPartitionsRequest]:
    """Requests with which a sensor registers locations, small enough for every database."""
    return [locations.build_add_request(new[at : at + _KEYS_AT_ONCE]) for at in range(0, len(new), _KEYS_AT_ONCE)]


def locations_in_store() -> set[str]:
    """The locations whose raw object is in the container or the landing place.

    Raises:
        StoreUnavailableError: the store did not answer.
    """
    config = settings().store
    return set(take_inventory(open_store(config), open_landing(config)).raw)


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key by which ``station2`` comes before ``station10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]
