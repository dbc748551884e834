"""The work queue as an asset that is observed, not made: its figures are plotted over time in the UI."""

import inspect

import dagster as dg

from tempagg_pipeline.orchestration.asset_keys import GROUP, QUEUE

temperature_queue = dg.AssetSpec(
    QUEUE,
    description=inspect.cleandoc("""
        The Redis list that producers push file names to, with its leases. Observed by `temperature_queue_sensor`
        whenever a figure has changed: items `ready`, `delayed` after a failure, `leased` to runs, `dead_letters`, and
        the age of the oldest that waits. A dead letter never goes away by itself: `tempagg queue dead` shows why,
        `tempagg queue requeue` tries again.
    """),
    group_name=GROUP,
    kinds={"redis"},
)
