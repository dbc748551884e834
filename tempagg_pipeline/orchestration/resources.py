"""Dagster resources: the store and the rules for processing, built from the settings when a run starts.

Nothing of them is Dagster config, so no credential can get into run config, tags or the event log.
"""

import dagster as dg
from pydantic import PrivateAttr

from tempagg_pipeline.core.object_store import open_landing, open_store
from tempagg_pipeline.core.processing import LocationProcessor
from tempagg_pipeline.core.settings import QualitySettings, settings


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

    @property
    def quality(self) -> QualitySettings:
        """What counts as good data."""
        return settings().quality

    @property
    def threads(self) -> int:
        """Locations processed at a time within one run."""
        return settings().store.threads
