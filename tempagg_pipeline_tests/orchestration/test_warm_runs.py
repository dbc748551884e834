"""Runs that start warm, by a real process and Dagster's own command line."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from tempagg_pipeline.core import errors
from tempagg_pipeline.orchestration.warm_runs import request, socket_of
from tempagg_pipeline_tests.servers.processes import running, wait_until

_INSTANCE = """
telemetry: {enabled: false}
run_launcher: {module: tempagg_pipeline.orchestration.warm_launcher, class: WarmRunLauncher}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


@pytest.fixture
def silent_redis() -> Iterator[int]:
    """Port of a server that takes connections and never says a word, so that a run stays under way."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_redis: int) -> Path:
    (tmp_path / "dagster.yaml").write_text(_INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("TEMPAGG_LOCAL_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(silent_redis))
    monkeypatch.setenv("REDIS_TIMEOUT_SECONDS", "60")
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    path = socket_of(str(home))
    module = "tempagg_pipeline.orchestration.warm_runs"
    command = [sys.executable, "-m", module, str(path), "tempagg_pipeline.definitions"]
    with running(command, home / "warm.log", path.exists) as process:
        yield process


def _launch(job: str, *options: str) -> None:
    dagster = Path(sys.executable).with_name("dagster")
    command = [dagster, "job", "launch", "-m", "tempagg_pipeline.definitions", "-j", job, *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _only_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    (run,) = instance.get_runs()
    return run


def _messages(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    return "\n".join(entry.get_dagster_event().message or "" for entry in instance.all_logs(run.run_id))


def _child_of(server: subprocess.Popen[bytes]) -> int:
    found: list[int] = []

    def look() -> bool:
        listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)], capture_output=True, text=True)
        found[:] = [int(pid) for pid in listing.stdout.split()]
        return bool(found)

    wait_until(look, "a run's process")
    return found[0]


def _wait_for(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    wait_until(lambda: _only_run(instance).status == status, f"a run that is {status.value}")
    return _only_run(instance)


def test_a_run_is_executed_by_a_fork_of_the_warm_process(server: subprocess.Popen[bytes]) -> None:
    _launch("enqueue_stale")
    with dg.DagsterInstance.get() as instance:
        run = _wait_for(instance, dg.DagsterRunStatus.STARTED)
        assert "Started warm" in _messages(instance, run)
    assert _child_of(server) != server.pid


def test_a_run_starts_as_dagster_does_where_no_warm_process_listens(home: Path) -> None:
    _launch("fan_out", "--config-json", '{"ops": {"process_leased_files": {"config": {"lease": "a", "files": []}}}}')
    with dg.DagsterInstance.get() as instance:
        assert "Started warm" not in _messages(instance, _only_run(instance))


def test_a_killed_run_is_marked_as_failed(server: subprocess.Popen[bytes]) -> None:
    _launch("enqueue_stale")
    with dg.DagsterInstance.get() as instance:
        _wait_for(instance, dg.DagsterRunStatus.STARTED)
        os.kill(_child_of(server), signal.SIGKILL)
        run = _wait_for(instance, dg.DagsterRunStatus.FAILURE)
        assert "killed by SIGKILL" in _messages(instance, run)


def test_terminating_a_run_cancels_it(server: subprocess.Popen[bytes]) -> None:
    _launch("enqueue_stale")
    with dg.DagsterInstance.get() as instance:
        run = _wait_for(instance, dg.DagsterRunStatus.STARTED)
        assert instance.run_launcher.terminate(run.run_id)
        _wait_for(instance, dg.DagsterRunStatus.CANCELED)


def test_runs_under_way_end_in_order_when_the_warm_process_ends(server: subprocess.Popen[bytes]) -> None:
    _launch("enqueue_stale")
    with dg.DagsterInstance.get() as instance:
        _wait_for(instance, dg.DagsterRunStatus.STARTED)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        _wait_for(instance, dg.DagsterRunStatus.FAILURE)
        assert "interrupted" in _messages(instance, _only_run(instance))


def test_a_client_that_talks_nonsense_harms_no_other(server: subprocess.Popen[bytes], home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_of(str(home))))
        client.sendall(b"nonsense\n")
    assert not request(socket_of(str(home)), {"knows": "nobody"})
    assert server.poll() is None


def test_a_change_of_the_sources_is_declined_once_and_then_loaded(
    server: subprocess.Popen[bytes], home: Path, touched_source: Callable[[], None]
) -> None:
    def execute() -> bool:
        return request(socket_of(str(home)), {"execute": "no run", "arguments": "nothing that can be executed"})

    assert execute()
    touched_source()
    assert not execute()
    wait_until(execute, "the process to have started itself anew")
    assert server.poll() is None


@pytest.fixture
def touched_source() -> Iterator[Callable[[], None]]:
    """Makes a source file look changed; its time is put back afterwards."""
    source = Path(errors.__file__)
    before = source.stat().st_mtime_ns
    yield lambda: os.utime(source, ns=(before, before + 1))
    os.utime(source, ns=(before, before))


def test_a_request_that_nobody_hears_is_declined(tmp_path: Path) -> None:
    assert not request(socket_of(str(tmp_path)), {"terminate": "x"})
