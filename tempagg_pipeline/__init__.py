"""One-minute station temperatures to hourly statistics, orchestrated by Dagster.

Three floors; a file imports only from its own floor or below (import-linter holds this):

* ``core``: aggregation, object store, leased work queue, settings. Knows nothing of Dagster.
* ``orchestration``: Dagster's building blocks: assets, checks, IO manager, fan-out op, sensors, schedules.
* ``definitions`` and ``cli``: everything wired together; the command line.
"""
