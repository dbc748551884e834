"""Reading and aggregating one large file: this package beside the pandas code of the original job.

    .venv/bin/python -m benchmarks.aggregation [--rows N] [--rounds N]

Each measurement is a process of its own, so that imports and memory count in full; the contestants take turns, and the
table has medians. Peak memory is the process's largest resident set, as the kernel counts it.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

ROWS = 1_051_200  # two years of minutes
LARGE_FACTOR = 10
TIME_TARGET, MEMORY_TARGET, GROWTH_TARGET = 0.3, 0.6, 1.3


class Measured(NamedTuple):
    """One process's work on one file."""

    seconds: float
    """Wall time of the whole process, start of the interpreter included."""
    work_seconds: float
    """Of it, without the imports."""
    mebibytes: float


# --- the contestants, each run in a process of its own


def ours(raw: Path, hourly: Path) -> float:
    """The package's own path, without Dagster: read in chunks, aggregate, write."""
    from tempagg_pipeline.core.aggregation import aggregate

    started = time.perf_counter()
    with raw.open("rb") as file, hourly.open("wb") as out:
        aggregation = aggregate(iter(lambda: file.read(1024 * 1024), b""), raw.name)
        out.writelines(aggregation.table.csv_pieces())
    return time.perf_counter() - started


def pandas(raw: Path, hourly: Path) -> float:
    """The original job's code: read all, parse, index, resample, write."""
    import pandas as pd

    started = time.perf_counter()
    frame = pd.read_csv(raw)
    frame["Datetime"] = pd.to_datetime(frame["Datetime"])
    frame = frame.set_index("Datetime")
    frame.resample("h").agg(["mean", "std", "min", "max"]).to_csv(hourly)
    return time.perf_counter() - started


CONTESTANTS: Mapping[str, Callable[[Path, Path], float]] = {"ours": ours, "pandas": pandas}


def measure(contestant: str, raw: Path, hourly: Path) -> Measured:
    """Run one contestant in a new process."""
    command = [sys.executable, "-m", "benchmarks.aggregation", "--contestant", contestant, str(raw), str(hourly)]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    work_seconds, kibibytes = done.stdout.split()
    return Measured(seconds, float(work_seconds), int(kibibytes) / 1024)


def run_contestant(contestant: str, raw: Path, hourly: Path) -> None:
    """Work, then print seconds of work and the process's peak memory in KiB."""
    seconds = CONTESTANTS[contestant](raw, hourly)
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


# --- the comparison


def make_file(path: Path, rows: int) -> None:
    """A sample of so many rows, on disk and in the page cache."""
    from tempagg_pipeline.core.sample import MINUTES_PER_DAY, SampleSpec, sample_csv

    with path.open("wb") as out:
        out.writelines(sample_csv(SampleSpec(seed=1, days=rows / MINUTES_PER_DAY)))


def compare(rows: int, rounds: int) -> None:
    """Measure all contestants in turns and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        small, large, hourly = (Path(directory) / name for name in ("small.csv", "large.csv", "hourly.csv"))
        make_file(small, rows)
        make_file(large, rows * LARGE_FACTOR)
        cases = {"pandas": ("pandas", small), "ours": ("ours", small), "ours, large file": ("ours", large)}
        results: dict[str, list[Measured]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case, (contestant, raw) in cases.items():
                results[case].append(measure(contestant, raw, hourly))
        sizes = {case: raw.stat().st_size for case, (_, raw) in cases.items()}
    medians = {
        case: Measured(*map(statistics.median, zip(*measured, strict=True))) for case, measured in results.items()
    }
    row_counts = {"ours, large file": rows * LARGE_FACTOR}
    print(f"medians of {rounds} rounds; whole process, and without imports")
    print(f"{'':<18}{'rows':>12}{'MB':>8}{'process s':>11}{'work s':>9}{'peak MiB':>10}{'M rows/s':>10}")
    for case, median in medians.items():
        count = row_counts.get(case, rows)
        speed = count / median.work_seconds / 1e6
        print(
            f"{case:<18}{count:>12,}{sizes[case] / 1e6:>8.1f}{median.seconds:>11.3f}{median.work_seconds:>9.3f}"
            f"{median.mebibytes:>10.1f}{speed:>10.1f}"
        )
    reference, mine, mine_large = medians["pandas"], medians["ours"], medians["ours, large file"]
    print()
    _ratio("time of the process, ours : pandas", mine.seconds / reference.seconds, TIME_TARGET)
    _ratio("time without imports, ours : pandas", mine.work_seconds / reference.work_seconds, TIME_TARGET)
    _ratio("peak memory, ours : pandas", mine.mebibytes / reference.mebibytes, MEMORY_TARGET)
    _ratio(f"peak memory, {LARGE_FACTOR} times the file : one", mine_large.mebibytes / mine.mebibytes, GROWTH_TARGET)


def _ratio(what: str, ratio: float, target: float) -> None:
    print(f"{what:<42}{ratio:>6.2f}   target at most {target:g}: {'met' if ratio <= target else 'MISSED'}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the file (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--contestant", nargs=3, metavar=("NAME", "RAW", "HOURLY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        name, raw, hourly = options.contestant
        run_contestant(name, Path(raw), Path(hourly))
    else:
        compare(options.rows, options.rounds)


if __name__ == "__main__":
    main()
