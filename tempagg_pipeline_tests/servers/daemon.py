"""Dagster's daemon, its code server and the warm start for runs, on the pipeline's code: each may be killed alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import dagster as dg

from tempagg_pipeline.orchestration.warm_runs import socket_of
from tempagg_pipeline_tests.servers.processes import accepts_connections, free_port, stop, wait_until

_BIN = Path(sys.executable).parent
_MODULE = "tempagg_pipeline.definitions"


@dataclass
class Child:
    """A process of ours that may be killed and started again."""

    command: list[str]
    env: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again if it was killed."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it without any notice; its own children live on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it and all that it started."""
        if self.process is not None:
            stop(self.process)

    def children(self) -> list[int]:
        """Process ids of its own children."""
        if self.process is None or self.process.poll() is not None:
            return []
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in found.split()]


@dataclass
class Daemon:
    """The processes that run the pipeline, as a machine or a cluster has them.

    Attributes:
        home: DAGSTER_HOME.
        env: settings under which they see their store and their queue.
        warm: whether runs start warm, as under ``tempagg ui``; else as processes of the code server.
    """

    home: Path
    env: Mapping[str, str]
    warm: bool = True
    code_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        local = files("tempagg_pipeline.cli").joinpath("dagster.yaml")
        (self.home / "dagster.yaml").write_text(local.read_text(encoding="utf-8"), encoding="utf-8")
        workspace = self.home / "workspace.yaml"
        server = f"{{host: 127.0.0.1, port: {self.code_port}, location_name: tempagg_pipeline}}"
        workspace.write_text(f"load_from:\n  - grpc_server: {server}\n", encoding="utf-8")
        self.env = {**self.env, "DAGSTER_HOME": str(self.home), "DAGSTER_DISABLE_TELEMETRY": "1"}
        dagster, port = str(_BIN / "dagster"), str(self.code_port)
        self.code_server = self._child("code_server", dagster, "api", "grpc", "-m", _MODULE, "-p", port)
        self.daemon = self._child("daemon", str(_BIN / "dagster-daemon"), "run", "-w", str(workspace))
        self.warm_runs = self._child("warm_runs", sys.executable, "-m", _warm_module(), str(self._socket), _MODULE)

    def _child(self, name: str, *command: str) -> Child:
        return Child(list(command), self.env, self.home / f"{name}.log")

    @property
    def _socket(self) -> Path:
        return socket_of(str(self.home))

    def start(self) -> None:
        """Start all, and wait until a sensor can tick."""
        with self.instance() as instance:
            instance.get_runs_count()  # makes the databases; processes that did so at one time would spoil them
        self.code_server.start()
        if self.warm:
            self.warm_runs.start()
        wait_until(lambda: accepts_connections(self.code_port), "the code server answers")
        self.daemon.start()
        if self.warm:
            wait_until(self._socket.exists, "runs can start warm")

    def restart_code_server(self) -> None:
        """Kill the code server and start it again."""
        self.code_server.kill()
        self.code_server.start()
        wait_until(lambda: accepts_connections(self.code_port), "the code server answers again")

    def restart_daemon(self) -> None:
        """Kill the daemon and start it again."""
        self.daemon.kill()
        self.daemon.start()

    def workers(self) -> list[int]:
        """Process ids of runs under way."""
        if self.warm:
            return self.warm_runs.children()
        return [pid for pid in self.code_server.children() if _is_a_run(pid)]

    def kill_workers(self) -> int:
        """Kill the process of each run under way; returns how many."""
        workers = self.workers()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        return len(workers)

    def stop(self) -> None:
        """End all."""
        for child in (self.daemon, self.warm_runs, self.code_server):
            child.stop()

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The history."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance


@contextmanager
def running_daemon(home: Path, env: Mapping[str, str], *, warm: bool = True) -> Iterator[Daemon]:
    """Daemon, code server and warm start on an instance of their own; ended with the context."""
    daemon = Daemon(home, env, warm)
    with ExitStack() as stack:
        stack.callback(daemon.stop)
        daemon.start()
        yield daemon


def _warm_module() -> str:
    return socket_of.__module__


def _is_a_run(pid: int) -> bool:
    """Whether a child of the code server executes a run; others serve multiprocessing itself."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
