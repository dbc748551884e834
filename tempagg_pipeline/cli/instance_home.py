"""The local instance: where Dagster keeps its history on this machine, and how its processes are started."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tempagg_pipeline.core.settings import LOCAL_STATE
from tempagg_pipeline.orchestration.warm_runs import socket_of

if TYPE_CHECKING:
    import dagster as dg

CHECKOUT = Path(__file__).resolve().parents[2]

_STOP_SECONDS = 15
_LOOK_EVERY_SECONDS = 0.25


def prepare_home() -> Path:
    """Point this process and its children to a DAGSTER_HOME with the local ``dagster.yaml``; one already set is kept.

    Returns:
        the directory.
    """
    if not os.environ.get("DAGSTER_HOME"):
        home = LOCAL_STATE / "dagster_home"
        home.mkdir(parents=True, exist_ok=True)
        wanted = files("tempagg_pipeline.cli").joinpath("dagster.yaml").read_text(encoding="utf-8")
        current = home / "dagster.yaml"
        if not current.exists() or current.read_text(encoding="utf-8") != wanted:
            current.write_text(wanted, encoding="utf-8")
        os.environ["DAGSTER_HOME"] = str(home)
    return Path(os.environ["DAGSTER_HOME"])


@contextmanager
def open_instance() -> Iterator["dg.DagsterInstance"]:
    """The instance of DAGSTER_HOME."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        yield instance


def await_runs(instance: "dg.DagsterInstance", limit_seconds: float = 60.0) -> None:
    """Wait until no run is under way, for a while: a run ends a moment after its last file."""
    import dagster as dg

    status = dg.DagsterRunStatus
    under_way = dg.RunsFilter(statuses=[status.QUEUED, status.NOT_STARTED, status.STARTING, status.STARTED])
    deadline = time.monotonic() + limit_seconds
    while instance.get_runs_count(under_way) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_SECONDS)


def workspace_options() -> Sequence[str]:
    """How Dagster's commands are told which code to load."""
    workspace = CHECKOUT / "workspace.yaml"
    return ["-w", str(workspace)] if workspace.exists() else ["-m", "tempagg_pipeline.definitions"]


@contextmanager
def sole_daemon(home: Path) -> Iterator[bool]:
    """Claim the right to run the instance's daemon; false where another of our commands runs it already."""
    with (home / "daemon.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        _create_tables(home)
        yield True


def _create_tables(home: Path) -> None:
    """Have SQLite's tables there before processes start that would create them all at once, which breaks them."""
    import dagster as dg

    dg.DagsterInstance.from_config(str(home)).dispose()


@contextmanager
def warm_runs(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have runs of the instance start warm while the context is open; open ``sole_daemon`` around it."""
    socket = socket_of(str(home))
    command = ["python", "-m", "tempagg_pipeline.orchestration.warm_runs", str(socket), "tempagg_pipeline.definitions"]
    with child(command, home / "warm_runs.log") as process:
        yield process


@contextmanager
def child(
    command: Sequence[str], log: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of Dagster's commands while the context is open, then end it in an orderly way."""
    executable = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            executable,
            stdin=subprocess.DEVNULL,
            stdout=output if log else None,
            stderr=subprocess.STDOUT if log else None,
            env={**os.environ, **(env or {})},
            start_new_session=log is not None,
        )
        try:
            with _sigterm_unwinds():
                yield process
        finally:
            _end(process)


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end the context as Ctrl-C does: by default it would end this process and orphan its children."""
    previous = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    process.kill()
    process.wait()
