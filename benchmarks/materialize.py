"""Wall time of ``dagster asset materialize`` on a large file, beside the same command with assets that do nothing.

``python -m benchmarks.materialize [--rounds 5]`` prints one table. The rounds of the two are interleaved, each command
is a process of its own, and both keep their history in SQLite files of one kind.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from tabulate import tabulate

from tempagg_pipeline.core.locations import raw_name
from tempagg_pipeline.core.sample import SampleSpec, sample_csv

ROWS = 1_051_200
LOCATION = "station"
TARGET_RATIO = 1.25

EMPTY_ASSETS = """
import dagster as dg

stations = dg.DynamicPartitionsDefinition(name="location")


@dg.multi_asset(
    specs=[dg.AssetSpec("raw_temperature"), dg.AssetSpec("hourly_temperature", deps=["raw_temperature"])],
    partitions_def=stations,
)
def temperature():
    yield dg.MaterializeResult("raw_temperature")
    yield dg.MaterializeResult("hourly_temperature")


defs = dg.Definitions(assets=[temperature], executor=dg.in_process_executor)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        env = prepare(directory)
        empty, real = ["-f", str(directory / "empty_assets.py")], ["-m", "tempagg_pipeline.definitions"]
        seconds: dict[str, list[float]] = {"empty assets": [], "raw and hourly": []}
        for _ in range(rounds + 1):
            seconds["empty assets"].append(materialize(empty, env))
            seconds["raw and hourly"].append(materialize(real, env))
    # The first of each fills caches, of files and of compiled modules.
    medians = {what: statistics.median(measured[1:]) for what, measured in seconds.items()}
    ratio = medians["raw and hourly"] / medians["empty assets"]
    rows = [
        (what, f"{medians[what]:.2f}", f"{min(all_[1:]):.2f}", f"{max(all_[1:]):.2f}") for what, all_ in seconds.items()
    ]
    print(f"dagster asset materialize, one partition of {ROWS:,} rows, {rounds} rounds, seconds")
    print(tabulate(rows, headers=["assets", "median", "least", "most"], disable_numparse=True))
    print(f"ratio of medians {ratio:.2f} (target: at most {TARGET_RATIO})")


def prepare(directory: Path) -> Mapping[str, str]:
    """A store with the large file and an instance that knows its location; returns the environment that names them."""
    container = directory / "store" / "temperaturefiles"
    container.mkdir(parents=True)
    with (container / raw_name(LOCATION)).open("wb") as output:
        output.writelines(sample_csv(SampleSpec(days=ROWS / 1440)))
    (directory / "empty_assets.py").write_text(EMPTY_ASSETS)
    home = directory / "dagster_home"
    home.mkdir()
    local = files("tempagg_pipeline.cli").joinpath("dagster.yaml")
    (home / "dagster.yaml").write_text(local.read_text(encoding="utf-8"), encoding="utf-8")
    env = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "TEMPAGG_LOCAL_ROOT": str(directory / "store"),
    }
    subprocess.run(
        [str(Path(sys.executable).with_name("tempagg")), "locations"], env=env, check=True, capture_output=True
    )
    return env


def materialize(code: list[str], env: Mapping[str, str]) -> float:
    """Seconds that the command takes."""
    dagster = str(Path(sys.executable).with_name("dagster"))
    selection = ["--select", "raw_temperature,hourly_temperature", "--partition", LOCATION]
    started = time.perf_counter()
    subprocess.run([dagster, "asset", "materialize", *selection, *code], env=env, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
