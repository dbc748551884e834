"""What is in the container: which locations have raw objects, and whose hourly objects are missing or stale."""

from dataclasses import dataclass

from tempagg_pipeline.core.locations import hourly_name, is_raw_name, location_of
from tempagg_pipeline.core.object_store import ObjectInfo, ObjectStore


@dataclass(frozen=True)
class Inventory:
    """One listing of the container, and of the landing place if there is one.

    Attributes:
        raw: newest raw object of each location.
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
        """Locations whose raw object was written after the hourly one, or that have none."""
        return sorted(location for location in self.raw if self._is_stale(location))

    def _is_stale(self, location: str) -> bool:
        made, source = self.hourly.get(location), self.raw[location]
        if made is None or made.modified is None or source.modified is None:
            return True
        return source.modified > made.modified


def take_inventory(store: ObjectStore, landing: ObjectStore | None = None) -> Inventory:
    """List the objects of all locations.

    Raises:
        StoreUnavailableError: a store did not answer.
    """
    objects = {info.name: info for info in store.list()}
    raw = {location_of(name): info for name, info in objects.items() if is_raw_name(name)}
    hourly = {location: objects[name] for location in raw if (name := hourly_name(location)) in objects}
    if landing is not None:
        for info in landing.list():
            if is_raw_name(info.name):
                raw[location_of(info.name)] = info
                if (made := objects.get(hourly_name(location_of(info.name)))) is not None:
                    hourly[location_of(info.name)] = made
    return Inventory(raw, hourly)
