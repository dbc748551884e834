"""Names that several modules of this floor share."""

import dagster as dg

RAW = dg.AssetKey("raw_temperature")
HOURLY = dg.AssetKey("hourly_temperature")
GROUP = "temperature"

RAW_CODE_VERSION = "1"
HOURLY_CODE_VERSION = "1"
"""Raise when the same raw object would give another table: all hourly partitions then show as stale."""

QUEUE = dg.AssetKey("temperature_queue")
