"""From RPUSH to the last output: this pipeline beside the original Kubernetes Job, on the same Azurite and Redis.

    .venv/bin/python -m benchmarks.fan_out [--rounds N] [--case large|small]…
    .venv/bin/python -m benchmarks.fan_out --scaling

Ours is the local instance of `tempagg ui` (SQLite, a process a run, started warm) with its daemon already running, and
records Dagster's full history. The original is three processes, started for the measurement as its pods were. Both take
turns, each with new files; while the original works our daemon is suspended, since nobody would run both. The clock
runs from the push until nothing is left on the queue: a file leaves it after its output was written, ours also after
its history was. Our pushes come at random moments between two ticks of the sensor. Processor time is that of the
contestant's own processes, without Azurite and Redis: on a machine with other work it is the steadier figure.

`--scaling` measures ours alone, with more and more files.
"""

import argparse
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from benchmarks import original_job
from benchmarks.fan_out_timeline import Fan, RunTimes, fan_of, queue_ticks
from tempagg_pipeline.cli.instance_home import child, sole_daemon, warm_runs, workspace_options
from tempagg_pipeline.core.locations import HOURLY_SUFFIX
from tempagg_pipeline.core.object_store import ObjectStore, open_store
from tempagg_pipeline.core.redis_connection import RedisClient
from tempagg_pipeline.core.sample import SampleSpec, sample_csv
from tempagg_pipeline.core.settings import settings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline.orchestration.warm_runs import socket_of
from tempagg_pipeline_tests.servers.azurite import azurite
from tempagg_pipeline_tests.servers.processes import wait_until
from tempagg_pipeline_tests.servers.redis import redis_server

LIMIT_SECONDS = 1800
PHASE_SECONDS = 6.0
"""Longest that the sensor takes from tick to tick."""
POLL_SECONDS = 0.01


class Case(NamedTuple):
    """What is pushed at once."""

    title: str
    files: int
    days: float
    contents: int
    """Different contents that the files share."""
    target: float
    """Ours : original, at most."""


CASES = {
    "large": Case("(a) 6 files of 1,051,200 rows", 6, 730, 6, 1.5),
    "small": Case("(b) 1,000 one-week files", 1000, 7, 20, 1.0),
}
SCALING = [Case(f"{count:,} one-day files", count, 1, 20, 1.2) for count in (100, 1_000, 10_000)]


class Plant:
    """The running servers, and the daemon."""

    def __init__(
        self,
        store: ObjectStore,
        queue: WorkQueue,
        redis_client: RedisClient,
        processes: Sequence[subprocess.Popen[bytes]],
        env: dict[str, str],
    ) -> None:
        self.store = store
        self.queue = queue
        self.redis = redis_client
        self.processes = processes
        self.env = env
        self.instance = dg.DagsterInstance.get()

    def await_tick(self) -> None:
        """Wait until the sensor has ticked from now on."""
        now = time.time()
        wait_until(lambda: bool(queue_ticks(self.instance, now)), "the queue sensor ticks", LIMIT_SECONDS)

    def await_quiet(self) -> None:
        """Wait until no run is under way."""
        status = dg.DagsterRunStatus
        under_way = dg.RunsFilter(statuses=[status.QUEUED, status.STARTING, status.STARTED])
        wait_until(lambda: not self.instance.get_runs_count(under_way), "runs end", LIMIT_SECONDS)

    @contextmanager
    def daemon_suspended(self) -> Iterator[None]:
        """Have ours use no processor: the daemon, its children, and the process that starts runs."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def processor_seconds(self) -> float:
        """Processor time of ours so far: of the same processes, and of those they have had."""
        groups = {process.pid for process in self.processes}
        return sum(seconds for group, seconds in _processor_seconds_by_group() if group in groups)

    def _signal(self, number: int) -> None:
        for process in self.processes:
            os.killpg(process.pid, number)  # each leads a group of its own


def _processor_seconds_by_group() -> Iterator[tuple[int, float]]:
    """Process group and processor time of each process, with that of its children that have ended (Linux)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            yield int(fields[2]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_plant(directory: Path) -> Iterator[Plant]:
    """Azurite, Redis, and the daemon on a new local instance."""
    home = directory / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes(files("tempagg_pipeline.cli").joinpath("dagster.yaml").read_bytes())
    with ExitStack() as stack:
        blobs = stack.enter_context(azurite(directory / "azurite"))
        redis = stack.enter_context(redis_server(directory / "redis"))
        blobs.create_container(original_job.CONTAINER)
        env = {**blobs.env, **redis.env, "DAGSTER_HOME": str(home), "TEMPAGG_CONTAINER": original_job.CONTAINER}
        os.environ.update(env)
        client = redis.client()
        stack.enter_context(sole_daemon(home))
        warm = stack.enter_context(warm_runs(home))
        daemon = stack.enter_context(child(["dagster-daemon", "run", *workspace_options()], home / "daemon.log"))
        plant = Plant(
            open_store(settings().store),
            WorkQueue(client, settings().queue),
            client,
            (daemon, warm),
            {"REDIS_URL": redis.url, "AZURE_STORAGE_CONNECTION_STRING": blobs.connection_string},
        )
        wait_until(socket_of(str(home)).exists, "the process that starts runs is ready", LIMIT_SECONDS)
        plant.await_tick()
        yield plant


# --- the contestants


class Measured(NamedTuple):
    """One contestant's work on one push."""

    pushed: float
    """When, in seconds since 1970."""
    seconds: float
    """Until the last file was done."""
    processor_seconds: float
    """Of the contestant's own processes, to their end."""


def ours(plant: Plant, names: Sequence[str]) -> Measured:
    """Push to the pipeline's queue at a random moment between ticks; wait until all is done."""
    plant.await_tick()
    time.sleep(random.uniform(0, PHASE_SECONDS))
    done = plant.queue.stats().completed + len(names)
    used = plant.processor_seconds()
    started, pushed = time.perf_counter(), time.time()
    plant.redis.rpush(plant.queue.name, *names)
    _poll(lambda: plant.queue.stats().completed >= done)
    seconds = time.perf_counter() - started
    plant.await_quiet()
    return Measured(pushed, seconds, plant.processor_seconds() - used)


def original(plant: Plant, names: Sequence[str]) -> Measured:
    """Push to the original's queue and start its three processes; wait until all is done."""
    with plant.daemon_suspended():
        used = _of_ended_children()
        started, pushed = time.perf_counter(), time.time()
        plant.redis.rpush(original_job.QUEUE, *names)
        with original_job.pods(plant.env):
            queues = (original_job.QUEUE, original_job.PROCESSING)
            _poll(lambda: not plant.redis.exists(*queues))
            seconds = time.perf_counter() - started
        return Measured(pushed, seconds, _of_ended_children() - used)


def _of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _poll(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done after {LIMIT_SECONDS} s")
        time.sleep(POLL_SECONDS)


# --- files


def contents_of(case: Case) -> list[bytes]:
    """The different contents of a case's files."""
    return [b"".join(sample_csv(SampleSpec(seed=seed, days=case.days))) for seed in range(case.contents)]


def upload(store: ObjectStore, prefix: str, case: Case, contents: Sequence[bytes]) -> list[str]:
    """Upload a case's files under new names; returns these."""
    names = [f"{prefix}-{number}.csv" for number in range(1, case.files + 1)]

    def put(number: int) -> None:
        store.replace(names[number], [contents[number % len(contents)]])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(case.files)))
    return names


def check_outputs(store: ObjectStore, names: Sequence[str]) -> None:
    """Every file has its output."""
    present = {info.name for info in store.list()}
    missing = [name for name in names if name.removesuffix(".csv") + HOURLY_SUFFIX not in present]
    assert not missing, f"{len(missing)} outputs are missing, {missing[0]} for one"


# --- the comparison


def compare(cases: Sequence[Case], rounds: int) -> None:
    """Measure both in turns and print the tables."""
    with tempfile.TemporaryDirectory() as directory, running_plant(Path(directory)) as plant:
        for number, case in enumerate(cases):
            contents = contents_of(case)
            measured: dict[str, list[Measured]] = {"original": [], "ours": []}
            fans: list[Fan] = []
            for round_ in range(rounds):
                order = (original, ours) if round_ % 2 else (ours, original)
                for contestant in order:
                    title = contestant.__name__
                    names = upload(plant.store, f"{title}{number}-{round_}", case, contents)
                    took = contestant(plant, names)
                    check_outputs(plant.store, names)
                    measured[title].append(took)
                    print(f"round {round_ + 1} of {case.title}, {title}: {took.seconds:.2f} s", file=sys.stderr)
                    if contestant is ours:
                        fans.append(fan_of(plant.instance, took.pushed))
            print_comparison(case, measured, fans)


def print_comparison(case: Case, measured: Mapping[str, Sequence[Measured]], fans: Sequence[Fan]) -> None:
    """Medians, their ratio, and where ours spent its time."""
    median = {title: Measured(*map(statistics.median, zip(*all_, strict=True))) for title, all_ in measured.items()}
    ratio = median["ours"].seconds / median["original"].seconds
    processor_ratio = median["ours"].processor_seconds / median["original"].processor_seconds
    verdict = "met" if ratio <= case.target else "MISSED"
    print(f"\n{case.title}, from RPUSH to the last one done, medians of {len(fans)} rounds")
    print(f"  {'':<10}{'seconds':>9}{'processor s':>13}   rounds, seconds")
    for title, all_ in measured.items():
        rounds = " ".join(f"{one.seconds:.2f}" for one in all_)
        print(f"  {title:<10}{median[title].seconds:>9.2f}{median[title].processor_seconds:>13.2f}   {rounds}")
    print(f"  {'ratio':<10}{ratio:>9.2f}{processor_ratio:>13.2f}   target at most {case.target:g}: {verdict}")
    print_breakdown(fans)


def print_breakdown(fans: Sequence[Fan]) -> None:
    """Mean over a fan's runs, median over fans."""
    times = RunTimes(*(statistics.median(values) for values in zip(*(fan.means for fan in fans), strict=True)))
    print(f"  of ours, a run's mean ({statistics.median(fan.runs for fan in fans):g} runs of {times.files:g} files):")
    for what, value in (
        ("wait for the sensor's tick", times.tick_wait),
        ("tick, run requested", times.tick),
        ("wait in the run queue", times.run_queue),
        ("start of the process", times.process_start),
        ("code loaded, run started", times.run_start),
        ("op: read, aggregate, write, record", times.op),
        ("  of it events recorded", times.recording),
    ):
        print(f"    {what:<36}{value:>7.2f}")


def scale() -> None:
    """Cost per file with more and more files."""
    rows: list[tuple[Case, Measured, Fan]] = []
    with tempfile.TemporaryDirectory() as directory, running_plant(Path(directory)) as plant:
        for case in SCALING:
            names = upload(plant.store, f"scaling{case.files}", case, contents_of(case))
            took = ours(plant, names)
            check_outputs(plant.store, names)
            rows.append((case, took, fan_of(plant.instance, took.pushed)))
    print(f"{'':<24}{'':>6}{'':>10}  milliseconds a file")
    print(f"{'':<24}{'runs':>6}{'seconds':>10}{'in all':>10}{'from the first op on':>23}{'processor':>12}")
    for case, took, fan in rows:
        in_all, work, processor = (
            1000 * seconds / case.files
            for seconds in (took.seconds, took.seconds - fan.first_op, took.processor_seconds)
        )
        print(f"{case.title:<24}{fan.runs:>6}{took.seconds:>10.2f}{in_all:>10.2f}{work:>23.2f}{processor:>12.2f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--scaling", action="store_true", help="cost per file from 100 to 10,000 files, ours alone")
    options = parser.parse_args()
    # In order, also when the machine ends this: suspended processes must not be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    # Where it is set, every process compiles all of its code anew: no installation does that.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if options.scaling:
        scale()
    else:
        compare([CASES[case] for case in options.case or CASES], options.rounds)


if __name__ == "__main__":
    main()
