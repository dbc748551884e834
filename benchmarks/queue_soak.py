"""Kills whatever the queue lives by, at random instants, and proves that nothing was lost.

Real processes on a real redis-server: a producer pushes names by plain RPUSH; claimers lease them and hand each lease
to workers through a directory, as the sensor hands leases to runs; workers read a source file and write an output for
each. Meanwhile claimers, workers and the redis-server are ended by SIGKILL, and workers are frozen for longer than
their lease. Some names are bad, fail at times, or kill their worker each time.

At the end every name whose push was answered is a whole output of its newest source, or a dead letter with a reason;
nothing waits, and no key is left that the queue's rules do not account for.

    python -m benchmarks.queue_soak
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from tempagg_pipeline.core.redis_connection import QueueUnavailableError, connect
from tempagg_pipeline.core.settings import QueueSettings, RedisSettings
from tempagg_pipeline.core.work_queue import WorkQueue
from tempagg_pipeline_tests.core.work_queue.contents import contents
from tempagg_pipeline_tests.servers.redis import RedisServer, redis_server

LEASE_SECONDS = 1.0
RULES = {"lease_seconds": LEASE_SECONDS, "max_attempts": 5, "backoff_seconds": 0.05, "backoff_max_seconds": 0.5}
BATCH = 5
CLAIMERS, WORKERS = 2, 3
LEASES_WAITING_MAX = 4
IDLE_SECONDS = 0.01
DRAIN_LIMIT_SECONDS = 180.0
OUTPUT_LINES = 200
FAULTS_SHOWN = 20

_processes = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Folders:
    """Where sources, outputs and leases lie."""

    root: Path

    @property
    def sources(self) -> Path:
        """One file a name, with the number of its version."""
        return self.root / "sources"

    @property
    def outputs(self) -> Path:
        """One file a name, made from a version."""
        return self.root / "outputs"

    @property
    def leases(self) -> Path:
        """Leases that wait for a worker."""
        return self.root / "leases"

    def waiting_leases(self) -> list[Path]:
        """Leases that no worker has taken; what a killed process has left behind begins with a dot."""
        return list(self.leases.glob("[!.]*"))

    def make(self) -> None:
        """Create them."""
        for folder in (self.sources, self.outputs, self.leases):
            folder.mkdir(parents=True)


class BadSourceError(ValueError):
    """No other attempt can mend it."""


def output_of(name: str, version: str) -> str:
    """What a worker writes for a version of a source."""
    return f"{name} {version}\n" * OUTPUT_LINES


def work_on(name: str, folders: Folders) -> None:
    """Write the output of a source; bad, flaky and deadly names do what they are called."""
    if name.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("bad"):
        raise BadSourceError(f"{name}, line 7: expected a number")
    if name.startswith("flaky") and random.random() < 0.5:
        raise OSError("the store did not answer")
    version = (folders.sources / name).read_text()
    replace(folders.outputs / name, output_of(name, version))


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def claimer(settings: RedisSettings, folders: Folders) -> None:
    """Lease items and hand the leases on, for ever."""
    queue = WorkQueue(connect(settings), QueueSettings.model_validate(RULES))
    while True:
        with outages_ignored():
            lease = None
            if len(folders.waiting_leases()) < LEASES_WAITING_MAX:
                lease = queue.claim(BATCH, owner=f"claimer {os.getpid()}")
            if lease is None:
                time.sleep(IDLE_SECONDS)
            else:
                replace(folders.leases / lease.token, json.dumps(lease.names))


def worker(settings: RedisSettings, folders: Folders) -> None:
    """Take leases and work on their items, for ever."""
    queue = WorkQueue(connect(settings), QueueSettings.model_validate(RULES))
    while True:
        for path in folders.waiting_leases():
            taken = path.with_name(f".taken.{os.getpid()}")
            try:
                path.rename(taken)
            except FileNotFoundError:  # another worker was faster
                continue
            names = json.loads(taken.read_text())
            taken.unlink()
            with outages_ignored():
                work_through(queue, path.name, names, folders)
        time.sleep(IDLE_SECONDS)


def work_through(queue: WorkQueue, token: str, names: list[str], folders: Folders) -> None:
    """Work on a lease's items, one by one."""
    for name in names:
        if not queue.start(token, [name], owner=f"worker {os.getpid()}"):
            continue
        try:
            work_on(name, folders)
        except (BadSourceError, OSError) as error:
            queue.fail(token, {name: str(error)}, permanent=isinstance(error, BadSourceError))
            continue
        if not queue.complete(token, [name]):
            # Frozen for too long, perhaps: an old output may have replaced a newer one. Once more, to be sure.
            queue.enqueue([name])


@contextmanager
def outages_ignored() -> Iterator[None]:
    """Go on after the server was away: leases run out and everything comes back."""
    try:
        yield
    except QueueUnavailableError:
        time.sleep(IDLE_SECONDS)


@dataclass
class Producer:
    """Pushes new versions of sources until it is told to stop."""

    server: RedisServer
    folders: Folders
    names: list[str]
    pushes: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Each name at least once, then again and again, a new version each time."""
        queue = WorkQueue(connect(self.server.settings), QueueSettings.model_validate(RULES))
        for name in self.names:
            self._push(queue, name)
        while not self.stopping.wait(IDLE_SECONDS):
            self._push(queue, random.choice(self.names))

    def _push(self, queue: WorkQueue, name: str) -> None:
        self.versions[name] += 1
        replace(self.folders.sources / name, str(self.versions[name]))
        while True:
            try:
                queue.enqueue([name])
            except QueueUnavailableError:
                time.sleep(IDLE_SECONDS)
            else:
                self.pushes += 1
                return


class Crew:
    """Claimers and workers, each replaced when it has ended."""

    def __init__(self, settings: RedisSettings, folders: Folders) -> None:
        # A new process then starts at once.
        _processes.set_forkserver_preload([contents.__module__, "redis.cluster"])
        self._start: dict[str, Callable[[], BaseProcess]] = {
            "claimer": lambda: _processes.Process(target=claimer, args=(settings, folders), daemon=True),
            "worker": lambda: _processes.Process(target=worker, args=(settings, folders), daemon=True),
        }
        self._members: list[tuple[str, BaseProcess]] = []
        self.ended_by_themselves = 0
        for kind, number in (("claimer", CLAIMERS), ("worker", WORKERS)):
            for _ in range(number):
                self._add(kind)

    def kill(self, kind: str) -> None:
        """End one without notice and put another in its place."""
        self.replace_ended()
        process = random.choice([process for its_kind, process in self._members if its_kind == kind])
        process.kill()
        process.join()
        self._members.remove((kind, process))
        self._add(kind)

    def freeze_worker(self) -> None:
        """Stop one for longer than its lease."""
        self.replace_ended()
        pid = random.choice([process for kind, process in self._members if kind == "worker"]).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.5 * LEASE_SECONDS, _go_on, [pid]).start()

    def replace_ended(self) -> None:
        """Deadly names end workers."""
        for kind, process in list(self._members):
            if not process.is_alive():
                self.ended_by_themselves += 1
                self._members.remove((kind, process))
                self._add(kind)

    def end(self) -> None:
        """End all."""
        for _, process in self._members:
            process.kill()
            process.join()

    def _add(self, kind: str) -> None:
        process = self._start[kind]()
        process.start()
        self._members.append((kind, process))


def _go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@dataclass(frozen=True)
class Report:
    """What happened, and what is wrong with the end; nothing, it is hoped."""

    figures: dict[str, int | float]
    dead: dict[str, int]
    faults: list[str]

    def __str__(self) -> str:
        rows = [*self.figures.items(), *((f"dead: {reason}", count) for reason, count in self.dead.items())]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:{width}}  {value:>9,}" for name, value in rows]
        faults = self.faults[:FAULTS_SHOWN]
        return "\n".join([*lines, "", *(faults or ["nothing lost, nothing stale, nothing left waiting"])])


def soak(directory: Path, names: int, kills: int, seed: int) -> Report:
    """Push, kill, wait for the queue to be drained, and judge.

    Args:
        directory: takes all files.
        names: distinct names; each is pushed at least once.
        kills: by SIGKILL, of claimers, workers and the redis-server, in about equal parts.
        seed: for the choice of what is killed when.
    """
    rng = random.Random(seed)
    folders = Folders(directory / "files")
    folders.make()
    began = time.monotonic()
    faults: Counter[str] = Counter()
    with redis_server(directory / "redis", ["appendonly yes", "appendfsync always"]) as server:
        producer = Producer(server, folders, _names(names))
        pushing = threading.Thread(target=producer.run, daemon=True)
        crew = Crew(server.settings, folders)
        try:
            pushing.start()
            for _ in range(kills):
                time.sleep(rng.uniform(0, 0.2))  # the random instant
                victim = rng.choice(("claimer", "worker", "redis-server"))
                faults[victim] += 1
                if victim == "redis-server":
                    server.kill()
                    server.start()
                else:
                    crew.kill(victim)
                if rng.random() < 0.1:
                    crew.freeze_worker()
                    faults["frozen"] += 1
            producer.stopping.set()
            pushing.join()
            queue = WorkQueue(server.client(), QueueSettings.model_validate(RULES))
            drained = _drain(queue, crew)
        finally:
            crew.end()
        return _judge(server, queue, producer, crew, faults, drained, time.monotonic() - began)


def _names(number: int) -> list[str]:
    """Mostly good ones."""
    kinds = {0: "bad", 10: "flaky", 20: "deadly", 30: "flaky"}
    return [f"{kinds.get(index % 100, 'good')}{index}.csv" for index in range(number)]


def _drain(queue: WorkQueue, crew: Crew) -> bool:
    deadline = time.monotonic() + DRAIN_LIMIT_SECONDS
    while queue.stats().unfinished:
        if time.monotonic() > deadline:
            return False
        crew.replace_ended()
        time.sleep(IDLE_SECONDS)
    return True


def _judge(
    server: RedisServer,
    queue: WorkQueue,
    producer: Producer,
    crew: Crew,
    faults: Counter[str],
    drained: bool,
    seconds: float,
) -> Report:
    letters = {letter.name: letter.reason for letter in queue.dead_letters(limit=len(producer.names))}
    problems = [] if drained else [f"not drained after {DRAIN_LIMIT_SECONDS:g} s: {queue.stats()}"]
    contents(server.client(), queue.name).check()
    done = 0
    for name, version in producer.versions.items():
        if name in letters:
            if not letters[name]:
                problems.append(f"{name}: a dead letter without a reason")
            continue
        output = producer.folders.outputs / name
        if not output.exists():
            problems.append(f"{name}: lost")
        elif output.read_text() != output_of(name, str(version)):
            problems.append(f"{name}: expected version {version}, found {output.read_text()[:50]!r}")
        else:
            done += 1
    figures = {
        "names": len(producer.versions),
        "pushes answered": producer.pushes,
        "completions": queue.stats().completed,
        "names with the output of their newest source": done,
        "names that are dead letters": len(letters),
        **{f"{victim} killed" if victim != "frozen" else "workers frozen": faults[victim] for victim in sorted(faults)},
        "workers killed by what they worked on": crew.ended_by_themselves,
        "seconds": round(seconds, 1),
    }
    return Report(figures, dict(Counter(re.sub(r"\S+\d+\.csv", "…", reason) for reason in letters.values())), problems)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = soak(Path(directory), options.names, options.kills, options.seed)
    print(report)
    if report.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
