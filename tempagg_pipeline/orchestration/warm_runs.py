"""A warm start for runs on one machine: a process that has everything imported, and forks a child for each run.

A run's process spends seconds on imports before it begins, and here a run's work is often shorter than that. This
process pays once: ``python -m tempagg_pipeline.orchestration.warm_runs SOCKET MODULE`` imports the module with the
definitions, then waits for requests on a Unix socket; each is one JSON object on a line, and so is the answer:

    {"execute": run id, "arguments": what `dagster api execute_run` takes}  ->  {"accepted": true or false}
    {"knows": run id}: whether the run is under way here                     ->  {"accepted": true or false}
    {"terminate": run id}                                                    ->  {"accepted": true or false}

It has one thread and opens nothing that a child must not share, which is what makes forking safe. When source files
have changed it declines and starts itself anew once its children are done, so that a run never executes old code. A
child that is killed has its run marked as failed, as Dagster's code server does for its own.
"""

import json
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

# Not from __name__: that is "__main__" where this runs.
_PACKAGE = (__package__ or "").partition(".")[0]
_THIS_MODULE = f"{__package__}.warm_runs"
_REQUEST_BYTES = 64 * 1024
_BACKLOG = 64
_ANSWER_SECONDS = 5.0
_STOP_SECONDS = 10
_ORDERLY_END = signal.SIGINT
"""As Dagster's code server does it: steps clean up; the run is cancelled, or failed when nobody asked for it."""


class WarmRuns:
    """Serves requests until SIGTERM or SIGINT."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._runs: dict[int, tuple[str, str]] = {}
        """Run id and arguments, by the child's process id."""
        self._sources = _source_stamps()
        self._is_stale = False
        self._is_ending = False

    def serve(self) -> None:
        """Take requests one by one; each is answered at once."""
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ, self._answer)
            selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(_REQUEST_BYTES))
            while not self._is_ending:
                for key, _ in selector.select():
                    key.data()
                self._reap()
                if self._is_stale and not self._runs:
                    os.execv(sys.executable, [sys.executable, "-m", _THIS_MODULE, *sys.argv[1:]])  # noqa: S606
        self._stop_children()

    def _end(self, *_: object) -> None:
        self._is_ending = True

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(_ANSWER_SECONDS)
        # A client that is silent, talks nonsense or is gone is its own loss: the others are served.
        with suppress(OSError, ValueError, KeyError), connection, connection.makefile("rwb") as stream:
            accepted = self._act_upon(json.loads(stream.readline()))
            stream.write(json.dumps({"accepted": accepted}).encode() + b"\n")

    def _act_upon(self, request: Mapping[str, str]) -> bool:
        if "execute" in request:
            return self._execute(request["execute"], request["arguments"])
        if "terminate" in request:
            return self._terminate(request["terminate"])
        return self._child_of(request["knows"]) is not None

    def _execute(self, run_id: str, arguments: str) -> bool:
        self._is_stale = self._is_stale or _source_stamps() != self._sources
        if self._is_stale or threading.active_count() > 1:
            return False
        child = self._fork(lambda: _execute_run(arguments))
        self._runs[child] = run_id, arguments
        return True

    def _terminate(self, run_id: str) -> bool:
        child = self._child_of(run_id)
        if child is not None:
            os.kill(child, _ORDERLY_END)
        return child is not None

    def _child_of(self, run_id: str) -> int | None:
        return next((child for child, (its_run, _) in self._runs.items() if its_run == run_id), None)

    def _reap(self) -> None:
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not child:
                return
            run_id, arguments = self._runs.pop(child, ("", ""))
            if run_id and os.WIFSIGNALED(status):
                killer = os.WTERMSIG(status)
                self._fork(lambda: _report_killed(arguments, killer))  # noqa: B023 - forked before it changes

    def _fork(self, work: Callable[[], None]) -> int:
        child = os.fork()
        if not child:
            self._become_worker(work)
        return child

    def _become_worker(self, work: Callable[[], None]) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            self._listener.close()
            work()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _stop_children(self) -> None:
        """Have every run end in order; what takes too long is for the queue's leases and Dagster to sort out."""
        signal.alarm(_STOP_SECONDS)
        for child in self._runs:
            os.kill(child, _ORDERLY_END)
        for child in list(self._runs):
            os.waitpid(child, 0)


def socket_of(dagster_home: str) -> Path:
    """Where the process for an instance listens."""
    return Path(dagster_home) / "warm_runs.sock"


def request(path: Path, content: dict[str, str]) -> bool:
    """Send a request; false when it was declined, nobody listens, or no answer came within five seconds."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            # Should an answer come too late, the run is started twice; Dagster ignores the second start.
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(str(path))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps(content).encode() + b"\n")
                stream.flush()
                return bool(json.loads(stream.readline() or "{}").get("accepted"))
    except (OSError, ValueError):
        return False


def _execute_run(arguments: str) -> None:
    from dagster._cli.api import execute_run_command

    # The body of `dagster api execute_run`, the entry point of every launcher that starts a process of its own.
    execute_run_command.callback(arguments, None)  # pyright: ignore[reportOptionalCall]


def _report_killed(arguments: str, killer: int) -> None:
    import dagster as dg
    from dagster._grpc.types import ExecuteRunArgs
    from dagster._serdes import deserialize_value

    args = deserialize_value(arguments, ExecuteRunArgs)
    if args.instance_ref is None:
        return
    with dg.DagsterInstance.from_ref(args.instance_ref) as instance:
        run = instance.get_run_by_id(args.run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, f"The run's process was killed by {signal.Signals(killer).name}.")


def _source_stamps() -> dict[str, int]:
    """When each source file of the package that is loaded was changed last."""
    files = [module.__file__ for name, module in list(sys.modules.items()) if name.partition(".")[0] == _PACKAGE]
    return {file: Path(file).stat().st_mtime_ns for file in files if file and Path(file).exists()}


def _warm_up(module: str) -> None:
    """Import what a run needs, by doing what a run does first."""
    import dagster as dg

    for name in ("dagster._cli.api", "redis", f"{_PACKAGE}.orchestration.event_rows", module):
        import_module(name)
    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()


def main() -> None:
    """Serve on the socket that is the first argument, the module of the second imported."""
    path, module = Path(sys.argv[1]), sys.argv[2]
    _warm_up(module)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
        WarmRuns(listener).serve()
    path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
