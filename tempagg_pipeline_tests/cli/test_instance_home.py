"""The local instance's home, and the processes that a command starts and ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tempagg_pipeline.cli import instance_home
from tempagg_pipeline.cli.instance_home import child, prepare_home, sole_daemon, workspace_options

_PARENT = """
import sys
from tempagg_pipeline.cli.instance_home import child
with child(["python", "-c", "import time; time.sleep(600)"]) as process:
    print(process.pid, flush=True)
    process.wait()
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_ended_leaves_no_child_behind(end: signal.Signals):
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(end)
        parent.wait()

    assert not is_running(pid)


def test_a_child_ends_with_its_context(tmp_path: Path):
    with child(["python", "-c", "import time; time.sleep(600)"], tmp_path / "log") as process:
        assert process.poll() is None

    assert process.poll() is not None


def test_a_home_of_one_s_own_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert prepare_home() == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_new_home_gets_the_local_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(instance_home, "LOCAL_STATE", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")

    home = prepare_home()

    assert home == tmp_path / "dagster_home"
    assert "QueuedRunCoordinator" in (home / "dagster.yaml").read_text()


def test_an_instance_has_one_daemon_at_a_time(tmp_path: Path):
    with sole_daemon(tmp_path) as first, sole_daemon(tmp_path) as second:
        assert (first, second) == (True, False)

    with sole_daemon(tmp_path) as third:
        assert third


def test_tables_are_there_before_any_process_can_race_for_them(tmp_path: Path):
    with sole_daemon(tmp_path):
        assert (tmp_path / "history" / "runs" / "index.db").stat().st_size > 0


def test_a_checkout_s_workspace_is_used():
    option, value = workspace_options()

    assert option == "-w"
    assert Path(value).name == "workspace.yaml"
