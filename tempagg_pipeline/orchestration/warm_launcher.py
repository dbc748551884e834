"""Dagster's default run launcher with a warm start, where the process for it runs (see ``warm_runs``)."""

from pathlib import Path

from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from tempagg_pipeline.orchestration.warm_runs import request, socket_of

_DEFINITIONS = "tempagg_pipeline.definitions"


class WarmRunLauncher(DefaultRunLauncher):
    """Starts this package's runs as forks of a process that has everything imported; any other run as Dagster does.

    For the instance on one machine: named as ``run_launcher`` in its ``dagster.yaml``.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run; warm if it is this package's and the process for it takes it."""
        run_id, origin = context.dagster_run.run_id, context.job_code_origin
        pointer = origin.repository_origin.code_pointer if origin else None
        if origin and isinstance(pointer, ModuleCodePointer) and pointer.module == _DEFINITIONS:
            arguments = ExecuteRunArgs(
                job_origin=origin, run_id=run_id, instance_ref=self._instance.get_ref(), set_exit_code_on_failure=None
            )
            if request(self._socket, {"execute": run_id, "arguments": serialize_value(arguments)}):
                self._instance.report_engine_event("Started warm", context.dagster_run, cls=self.__class__)
                return
        super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """End a run in order; true when it was under way."""
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished and request(self._socket, {"knows": run_id}):
            # First: by this the run's process tells a request from an accident.
            self._instance.report_run_canceling(run)
            return request(self._socket, {"terminate": run_id})
        return super().terminate(run_id)

    @property
    def _socket(self) -> Path:
        return socket_of(self._instance.root_directory)
