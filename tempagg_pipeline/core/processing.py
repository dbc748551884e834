"""The one way from a location's raw object to its hourly object; assets, fan-out op and command line all call it."""

import time
from contextlib import suppress
from dataclasses import dataclass

from tempagg_pipeline.core.aggregation import Aggregation, aggregate
from tempagg_pipeline.core.locations import hourly_name, raw_name
from tempagg_pipeline.core.object_store import ObjectInfo, ObjectNotFoundError, ObjectStore, OpenObject

_COPY_ATTEMPTS = 3


class ObjectChangedError(OSError):
    """A raw object kept changing while it was read; another attempt may find it at rest."""


@dataclass(frozen=True)
class Recorded:
    """Which versions the last successful processing of a location read and wrote."""

    source_etag: str
    """Of the raw object, where it was read: in the landing place if there is one, else in the container."""
    hourly_etag: str


@dataclass(frozen=True)
class Processed:
    """What one processing of a location did."""

    location: str
    aggregation: Aggregation
    source_etag: str
    raw: ObjectInfo
    """The raw object in the container."""
    hourly: ObjectInfo | None
    """The hourly object; None when it was not asked for."""
    seconds: float
    """From the first request to the last answer."""


@dataclass(frozen=True)
class LocationProcessor:
    """Processes locations of one container.

    Attributes:
        store: the container.
        landing: where raw objects come from first; None when they are uploaded straight into the container.
        bad_rows_max_share: share of a file's rows (0 to 1) that may be unreadable and skipped.
    """

    store: ObjectStore
    landing: ObjectStore | None = None
    bad_rows_max_share: float = 0.0

    def process(
        self,
        location: str,
        *,
        ingest: bool = True,
        write_hourly: bool = True,
        unless_recorded: Recorded | None = None,
    ) -> Processed | None:
        """Read and validate the raw object, take it over from the landing place, write the hourly object.

        Nothing is written unless the whole raw object is good, and each object is replaced atomically.

        Args:
            location: whose objects.
            ingest: look in the landing place first, if there is one.
            write_hourly: write the hourly object; else the raw object is only validated and taken over.
            unless_recorded: do nothing and return None while these still are the versions stored: costs one conditional
                GET of the raw object that returns no body, and one HEAD of the hourly object.

        Raises:
            InvalidInputError: the raw object breaks the contract.
            ObjectNotFoundError: there is no raw object.
            ObjectChangedError: the raw object in the landing place changed again and again.
            StoreUnavailableError: the store did not answer.
        """
        started = time.perf_counter()
        landing = self.landing if ingest else None
        source, opened = self._open(location, landing, unless_recorded)
        if opened is None and not self._has_hourly(location, unless_recorded):
            source, opened = self._open(location, landing)
        if opened is None:
            return None
        aggregation = aggregate(opened.chunks, raw_name(location), self.bad_rows_max_share)
        raw = opened.info
        if source is not self.store:
            aggregation, opened, raw = self._take_over(source, location, opened, aggregation)
        hourly = self.store.replace(hourly_name(location), aggregation.table.csv_pieces()) if write_hourly else None
        seconds = time.perf_counter() - started
        return Processed(location, aggregation, opened.info.etag, raw, hourly, seconds)

    def _has_hourly(self, location: str, recorded: Recorded | None) -> bool:
        hourly = self.store.find(hourly_name(location))
        return hourly is not None and recorded is not None and hourly.etag == recorded.hourly_etag

    def _open(
        self, location: str, landing: ObjectStore | None, unless: Recorded | None = None
    ) -> tuple[ObjectStore, OpenObject | None]:
        name, etag = raw_name(location), unless.source_etag if unless else None
        if landing is not None:
            with suppress(ObjectNotFoundError):
                return landing, landing.open(name, etag)
        try:
            return self.store, self.store.open(name, etag)
        except ObjectNotFoundError:
            places = " or ".join(place.url for place in (landing, self.store) if place)
            raise ObjectNotFoundError(f"{name}: there is no such object in {places}") from None

    def _take_over(
        self, source: ObjectStore, location: str, opened: OpenObject, aggregation: Aggregation
    ) -> tuple[Aggregation, OpenObject, ObjectInfo]:
        """Copy the version that was validated into the container; validate again if it has changed meanwhile."""
        name = raw_name(location)
        for _ in range(_COPY_ATTEMPTS):
            again = source.open(name)
            if again is not None and again.info.etag == opened.info.etag:
                return aggregation, opened, self.store.replace(name, again.chunks)
            opened = again or opened
            aggregation = aggregate(opened.chunks, name, self.bad_rows_max_share)
        raise ObjectChangedError(f"{name}: changed while it was read, {_COPY_ATTEMPTS} times in a row")
