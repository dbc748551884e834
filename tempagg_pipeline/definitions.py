"""Everything wired together: what ``workspace.yaml`` loads."""

import dagster as dg

from tempagg_pipeline.orchestration.assets import IO_MANAGER, temperature
from tempagg_pipeline.orchestration.fan_out import fan_out
from tempagg_pipeline.orchestration.io_manager import CsvBlobIOManager
from tempagg_pipeline.orchestration.queue_asset import temperature_queue
from tempagg_pipeline.orchestration.queue_sensor import failed_fan_out_sensor, temperature_queue_sensor
from tempagg_pipeline.orchestration.resources import TemperatureQueue, TemperatureStore
from tempagg_pipeline.orchestration.stale_files import enqueue_stale, enqueue_stale_schedule, new_files_sensor

temperature_store = TemperatureStore()

defs = dg.Definitions(
    assets=[temperature, temperature_queue],
    jobs=[fan_out, enqueue_stale],
    sensors=[temperature_queue_sensor, failed_fan_out_sensor, new_files_sensor],
    schedules=[enqueue_stale_schedule],
    resources={
        "temperature_store": temperature_store,
        "temperature_queue": TemperatureQueue(),
        IO_MANAGER: CsvBlobIOManager(temperature_store=temperature_store),
    },
    # Steps are short: a process each, as Dagster starts by default, would cost more than the work.
    executor=dg.in_process_executor,
)
