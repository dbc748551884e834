"""``dagster asset materialize`` as users and CI type it, on instances that know nothing yet."""

import subprocess
import sys
from pathlib import Path

import pytest

from tempagg_pipeline_tests.orchestration.workplaces import BAD, BAD_REASON, GOOD

_DAGSTER = Path(sys.executable).with_name("dagster")
_MODULE = "tempagg_pipeline.definitions"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that stands for the container."""
    container = tmp_path / "store" / "temperaturefiles"
    container.mkdir(parents=True)
    monkeypatch.setenv("TEMPAGG_LOCAL_ROOT", str(tmp_path / "store"))
    return container


@pytest.fixture
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "dagster_home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))


def materialize(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run the command on both assets."""
    selection = ["--select", "raw_temperature,hourly_temperature"]
    command = [str(_DAGSTER), "asset", "materialize", *selection, *options, "-m", _MODULE]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("_empty_home")
def test_a_location_that_nobody_registered_is_found_on_a_fresh_instance(store: Path):
    (store / "temperature1.csv").write_bytes(GOOD)

    done = materialize("--partition", "temperature1")

    assert done.returncode == 0, done.stderr
    assert (store / "temperature1_aggregated.csv").exists()


def test_no_instance_is_needed(store: Path):
    (store / "temperature1.csv").write_bytes(GOOD)

    done = materialize("--partition", "temperature1")

    assert done.returncode == 0, done.stderr
    assert (store / "temperature1_aggregated.csv").exists()


@pytest.mark.usefixtures("_empty_home")
def test_a_bad_file_ends_in_an_exit_code_and_one_clear_line(store: Path):
    (store / "temperature1.csv").write_bytes(BAD)

    done = materialize("--partition", "temperature1")

    assert done.returncode == 1
    assert f"temperature1.csv, {BAD_REASON}" in done.stderr


@pytest.mark.usefixtures("_empty_home")
def test_a_location_without_a_file_is_refused_by_name(store: Path):
    (store / "temperature1.csv").write_bytes(GOOD)

    done = materialize("--partition", "temperature9")

    assert done.returncode != 0
    assert "temperature9" in done.stderr.strip().splitlines()[-1]
    assert sorted(path.name for path in store.iterdir()) == ["temperature1.csv"]


@pytest.mark.usefixtures("_empty_home")
def test_a_range_is_one_run_in_natural_order(store: Path):
    for number in (1, 2, 3, 10, 11):
        (store / f"temperature{number}.csv").write_bytes(GOOD)

    done = materialize("--partition-range", "temperature2...temperature10")

    assert done.returncode == 0, done.stderr
    made = {path.name for path in store.glob("*_aggregated.csv")}
    assert made == {f"temperature{number}_aggregated.csv" for number in (2, 3, 10)}
    assert done.stderr.count("RUN_START") == 1


def test_a_wrong_setting_is_told_in_one_line(store: Path, monkeypatch: pytest.MonkeyPatch):
    (store / "temperature1.csv").write_bytes(GOOD)
    monkeypatch.setenv("TEMPAGG_THREADS", "many")

    done = materialize("--partition", "temperature1")

    assert done.returncode != 0
    assert "TEMPAGG_THREADS: Input should be a valid integer" in done.stderr
