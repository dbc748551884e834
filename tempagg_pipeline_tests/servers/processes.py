"""Starts a server as a child process, waits until it answers, and ends it whatever happens."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_LIMIT_SECONDS = 180.0
STOP_LIMIT_SECONDS = 15.0
_POLL_SECONDS = 0.02


class ServerError(RuntimeError):
    """A server ended, or did not answer, before it was of use; carries the end of its log."""


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts_connections(port: int) -> bool:
    """Whether something on loopback listens on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    is_ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server while the context is open; then end it with SIGTERM, and with SIGKILL if it does not heed that.

    Args:
        command: program and arguments.
        log: file that takes its output.
        is_ready: asked again and again until it is true; may raise OSError meanwhile.
        env: set beside the process's own environment.
        cwd: its working directory.

    Raises:
        ServerError: it ended or did not get ready.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    try:
        _await(process, is_ready, log)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and the group it leads."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(is_true: Callable[[], bool], what: str, limit_seconds: float = START_LIMIT_SECONDS) -> None:
    """Poll a condition.

    Raises:
        TimeoutError: it was not true within the limit.
    """
    deadline = time.monotonic() + limit_seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_seconds:g} s in vain: {what}")
        time.sleep(_POLL_SECONDS)


def _await(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while True:
        if process.poll() is not None:
            raise ServerError(f"{process.args} ended with {process.returncode}:\n{_tail(log)}")
        try:
            if is_ready():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise ServerError(f"{process.args} did not answer within {START_LIMIT_SECONDS:g} s:\n{_tail(log)}")
        time.sleep(_POLL_SECONDS)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
