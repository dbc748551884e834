"""What is in the container: which locations have raw objects, and whose hourly objects are missing or stale."""

from dataclasses import dataclass
from itertools import chain

from tempagg_pipeline.core.locations import hourly_name, is_raw_name, location_of
from tempagg_pipeline.core.object_store import ObjectInfo, ObjectStore


@dataclass(frozen=True)
class Inventory:
    """One listing of the container, and of the landing place if there is one.

    Attributes:
        raw: raw object of each location; the one in the landing place where it is there.
        hourly: hourly object of each location that has one.
    """

    raw: dict[str, ObjectInfo]
    hourly: dict[str, ObjectInfo]

    @property
    def missing(self) -> list[str]:
        """Locations with a raw object and no hourly one."""
        return sorted(self.raw.keys() - self.hourly.keys())

    @property
    def stale(self) -> list[str]:
        """Locations whose raw object was written after the hourly one or at the same time, or that have none."""
        return sorted(location for location in self.raw if self._is_stale(location))

    def _is_stale(self, location: str) -> bool:
        made, source = self.hourly.get(location), self.raw[location]
        if made is None or made.modified is None or source.modified is None:
            return True
        # Azure tells times to the second: of two writes at one time, either may have been the later.
        return source.modified >= made.modified


def take_inventory(store: ObjectStore, landing: ObjectStore | None = None) -> Inventory:
    """List the objects of all locations.

    Raises:
        StoreUnavailableError: a store did not answer.
    """
    objects = {info.name: info for info in store.list()}
    landed = landing.list() if landing is not None else ()
    raw = {location_of(info.name): info for info in chain(objects.values(), landed) if is_raw_name(info.name)}
    hourly = {location: objects[name] for location in raw if (name := hourly_name(location)) in objects}
    return Inventory(raw, hourly)
