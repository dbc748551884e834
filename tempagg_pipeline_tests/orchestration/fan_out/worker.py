"""A run's worker in a process of its own, which a file can kill."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.instance import InstanceRef

from tempagg_pipeline.core.processing import LocationProcessor, Processed
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.definitions import defs
from tempagg_pipeline.orchestration.fan_out import fan_out


def execute_until_killed(
    killer: str, instance_ref: InstanceRef, env: Mapping[str, str], request: dg.RunRequest
) -> None:
    """Execute a run in this process; it is killed when it comes to a location, as by the kernel for its memory."""
    os.environ.update(env)
    settings.cache_clear()  # the process this one was forked from may have read others
    process = LocationProcessor.process

    def process_or_die(processor: LocationProcessor, location: str, **options: Any) -> Processed | None:
        if location == killer:
            os.kill(os.getpid(), signal.SIGKILL)
        return process(processor, location, **options)

    LocationProcessor.process = process_or_die  # pyright: ignore[reportAttributeAccessIssue]
    with dg.DagsterInstance.from_ref(instance_ref) as instance:
        job = defs.resolve_job_def(fan_out.name)
        job.execute_in_process(instance=instance, run_config=request.run_config, tags=dict(request.tags))
