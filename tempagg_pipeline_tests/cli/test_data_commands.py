"""Commands about data: what they write, list, and refuse."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tempagg_pipeline.cli import main
from tempagg_pipeline.core.aggregation import aggregate
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline_tests.orchestration.workplaces import GOOD, SAMPLES, Workplace, sqlite_workplace

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``tempagg`` with these arguments; keywords are environment variables."""

    def invoke(*arguments: str, **env: str) -> Result:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        return CliRunner().invoke(main, arguments)

    return invoke


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    """An instance and a store that the commands see."""
    with sqlite_workplace(tmp_path) as place:
        monkeypatch.setenv("DAGSTER_HOME", place.instance.root_directory)
        for name, value in place.env.items():
            monkeypatch.setenv(name, value)
        yield place


def test_a_sample_has_the_length_and_start_asked_for(run: Run, tmp_path: Path):
    done = run("sample", str(tmp_path / "a.csv"), "--days", "0.5", "--start", "2024-02-29")

    profile = aggregate([(tmp_path / "a.csv").read_bytes()], "a.csv").profile
    assert done.exit_code == 0
    assert (profile.rows, profile.first) == (720, datetime(2024, 2, 29))


def test_the_same_seed_gives_the_same_sample(run: Run, tmp_path: Path):
    for name, seed in {"a": "1", "b": "1", "c": "2"}.items():
        assert run("sample", str(tmp_path / name), "--days", "0.1", "--seed", seed).exit_code == 0

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_sample_has_gaps_where_asked_for(run: Run, tmp_path: Path):
    assert run("sample", str(tmp_path / "a.csv"), "--days", "1", "--gaps", "0.2", "--outages", "1").exit_code == 0

    profile = aggregate([(tmp_path / "a.csv").read_bytes()], "a.csv").profile
    assert profile.missing_minutes > 0.1 * 1440


@pytest.mark.parametrize("options", [["--days", "-1"], ["--gaps", "1.5"], ["--outages", "-2"], ["--start", "soon"]])
def test_a_sample_that_makes_no_sense_is_refused(run: Run, tmp_path: Path, options: list[str]):
    done = run("sample", str(tmp_path / "a.csv"), *options)

    assert done.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in done.output
    assert not (tmp_path / "a.csv").exists()


def test_locations_registers_what_is_in_the_store(run: Run, workplace: Workplace):
    for name in ("temperature10.csv", "temperature2.csv"):
        workplace.store.replace(name, [GOOD])

    first, second = run("locations"), run("locations")

    assert first.output.splitlines() == ["temperature2  (new)", "temperature10  (new)"]
    assert second.output.splitlines() == ["temperature2", "temperature10"]


def test_summary_shows_the_latest_partition_of_each_location(run: Run, workplace: Workplace):
    workplace.put(temperature10=GOOD, temperature2=SAMPLES["temperature2.csv"], unmade=GOOD)
    assert workplace.run("temperature10").success
    assert workplace.run("temperature2").success

    done = run("summary")

    lines = done.output.splitlines()
    assert done.exit_code == 0
    assert " ".join(lines[0].split()) == "location hours readings missing min °C mean °C max °C output"
    assert [line.split()[0] for line in lines[2:]] == ["temperature2", "temperature10"]
    assert lines[3].split()[1:] == ["1", "2", "0", "1.5", "2.0", "2.5", lines[3].split()[-1]]
    assert Path(lines[3].split()[-1]).read_bytes() == workplace.store.read("temperature10_aggregated.csv")


def test_summary_of_nothing_says_so(run: Run, workplace: Workplace):
    assert run("summary").output == "no hourly partitions yet\n"


def test_settings_lists_values_in_force(run: Run):
    done = run("settings", TEMPAGG_THREADS="7")

    assert "TEMPAGG_THREADS=7" in done.output.splitlines()
    assert "TEMPAGG_CONTAINER=temperaturefiles" in done.output.splitlines()


def test_settings_shows_no_secret(run: Run):
    secrets = {
        "AZURE_STORAGE_ACCOUNT": "account",
        "AZURE_STORAGE_ACCESS_KEY": "c2VjcmV0LWtleQ==",
        "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=hush",
        "REDIS_PASSWORD": "hush-hush",
        "REDIS_URL": "redis://:hush-url@127.0.0.1:6379",
    }
    done = run("settings", **secrets)

    assert done.exit_code == 0
    assert "AZURE_STORAGE_ACCESS_KEY=(set)" in done.output
    assert not any(secret in done.output for name, secret in secrets.items() if name != "AZURE_STORAGE_ACCOUNT")


def test_settings_prints_the_table_of_the_documentation(run: Run):
    assert "| `TEMPAGG_THREADS` | `4` |" in run("settings", "--markdown").output


@pytest.mark.parametrize("command", [["locations"], ["settings"]])
def test_a_wrong_setting_is_one_clear_line(run: Run, workplace: Workplace, command: list[str]):
    done = run(*command, TEMPAGG_BAD_ROWS_MAX_SHARE="2", TEMPAGG_CONTAINER="Big_Letters")

    assert done.exit_code == 1
    first, second = done.output.strip().splitlines()
    assert first.startswith("Error: TEMPAGG_CONTAINER: String should match pattern")
    assert second == "TEMPAGG_BAD_ROWS_MAX_SHARE: Input should be less than or equal to 1"
    assert "Big_Letters" not in done.output


def test_a_landing_place_that_is_not_there_is_one_clear_line(run: Run, workplace: Workplace):
    done = run("locations", TEMPAGG_LANDING="/does/not/exist")

    assert done.exit_code == 1
    assert done.output == "Error: TEMPAGG_LANDING: expected a directory or az://container, found /does/not/exist\n"


def test_help_lists_every_command(run: Run):
    done = run("--help")

    for command in ("demo", "ui", "summary", "locations", "sample", "settings"):
        assert f"\n  {command} " in done.output
