"""Dagster resources: the store and the rules for processing, built from the settings when a run starts.

Nothing of them is Dagster config, so no credential can get into run config, tags or the event log.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from tempagg_pipeline.core.inventory import Inventory, take_inventory
from tempagg_pipeline.core.object_store import open_landing, open_store
from tempagg_pipeline.core.processing import LocationProcessor
from tempagg_pipeline.core.settings import QualitySettings, settings

if TYPE_CHECKING:
    from tempagg_pipeline.core.work_queue import WorkQueue
    from tempagg_pipeline.core.work_queue.held_lease import HeldLease


class TemperatureStore(dg.ConfigurableResource):
    """The container of raw and hourly objects, and how locations in it are processed."""

    _processor: LocationProcessor | None = PrivateAttr(default=None)

    @property
    def processor(self) -> LocationProcessor:
        """Processes locations of the container that the settings name.

        Raises:
            SettingsError: account or credentials are incomplete.
        """
        if self._processor is None:
            config = settings()
            self._processor = LocationProcessor(
                open_store(config.store), open_landing(config.store), config.quality.bad_rows_max_share
            )
        return self._processor

    def inventory(self) -> Inventory:
        """What raw and hourly objects there are.

        Raises:
            StoreUnavailableError: the store did not answer.
        """
        return take_inventory(self.processor.store, self.processor.landing)

    @property
    def quality(self) -> QualitySettings:
        """What counts as good data."""
        return settings().quality

    @property
    def threads(self) -> int:
        """Locations processed at a time within one run."""
        return settings().store.threads


class TemperatureQueue(dg.ConfigurableResource):
    """The leased work queue of file names. Redis' client is imported where it is used: asset runs never need it."""

    @contextmanager
    def open(self) -> "Iterator[WorkQueue]":
        """A connection to the queue that the settings name, closed with the context."""
        from tempagg_pipeline.core.redis_connection import connect
        from tempagg_pipeline.core.work_queue import WorkQueue

        with closing(connect(settings().redis)) as client:
            yield WorkQueue(client, settings().queue)

    @contextmanager
    def take_over(self, token: str, names: Sequence[str], owner: str) -> "Iterator[HeldLease]":
        """Take over leased files and keep the lease alive while the context is open.

        Raises:
            QueueUnavailableError: the queue did not answer.
        """
        from tempagg_pipeline.core.work_queue.held_lease import held_lease

        seconds = settings().queue.lease_seconds
        with self.open() as queue, held_lease(queue, token, names, owner=owner, lease_seconds=seconds) as lease:
            yield lease
