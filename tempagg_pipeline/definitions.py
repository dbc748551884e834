"""Everything wired together: what ``workspace.yaml`` loads."""

import dagster as dg

from tempagg_pipeline.orchestration.assets import IO_MANAGER, temperature
from tempagg_pipeline.orchestration.io_manager import CsvBlobIOManager
from tempagg_pipeline.orchestration.resources import TemperatureStore

temperature_store = TemperatureStore()

defs = dg.Definitions(
    assets=[temperature],
    resources={
        "temperature_store": temperature_store,
        IO_MANAGER: CsvBlobIOManager(temperature_store=temperature_store),
    },
    # Steps are short: a process each, as Dagster starts by default, would cost more than the work.
    executor=dg.in_process_executor,
)
