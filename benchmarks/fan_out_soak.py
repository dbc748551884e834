"""Kills whatever the whole way lives by, at random instants under a real Dagster, and proves that nothing was lost.

A plain client pushes file names; the real daemon, code server, sensor and runs take them to hourly files. Meanwhile the
daemon, the code server, the process that starts runs warm, the runs' own processes and the redis-server are ended by
SIGKILL while files are worked on. Some files are bad, some names have no file, some files change and are pushed again.

At the end each name is an output equal to what pandas makes of its newest source, with its history, or a dead letter
with a reason; nothing waits, and no run is under way.

    python -m benchmarks.fan_out_soak [--cold]

``benchmarks.queue_soak`` does the same to the queue alone, where hundreds of kills take a minute.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tempagg_pipeline_tests.orchestration.fan_out.plant import Plant, running_plant
from tempagg_pipeline_tests.orchestration.workplaces import BAD

RULES = {
    "sensor_interval_seconds": 1,
    "lease_seconds": 20,
    "max_attempts": 12,
    "backoff_seconds": 0.2,
    "backoff_max_seconds": 2,
}
"""Attempts enough that no file is given up for being near kills."""

FILES_A_ROUND = 8
DAYS = (1.0, 3.0, 30.0)
CHANGED_SHARE = 0.2
WORK_LIMIT_SECONDS = 30.0
INSTANT_SECONDS = 1.5
DRAIN_LIMIT_SECONDS = 600.0


@dataclass
class Soak:
    """One soak under way."""

    plant: Plant
    rng: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    pushes: int = 0

    def victims(self) -> Mapping[str, Callable[[], int]]:
        """What can be killed, each with how; it returns how many processes died."""
        dagster = self.plant.dagster
        found = {
            "daemon": lambda: _once(dagster.restart_daemon),
            "code server": lambda: _once(dagster.restart_code_server),
            "runs' processes": dagster.kill_workers,
            "redis-server": lambda: _once(self._restart_redis),
        }
        if dagster.warm:
            found["warm start, with its runs"] = self._kill_warm_start
        return found

    def run(self, rounds: int) -> None:
        """Push and kill, round after round."""
        for number in range(rounds):
            self._push(number)
            self._await_work()
            time.sleep(self.rng.uniform(0, INSTANT_SECONDS))  # the random instant
            victim, kill = self.rng.choice([*self.victims().items()])
            self.kills[victim] += kill()

    def _push(self, number: int) -> None:
        names = self.plant.upload(f"round{number}_", FILES_A_ROUND, days=self.rng.choice(DAYS))
        if number % 5 == 0:
            self.plant.write(f"bad{number}.csv", BAD)
            self.dead += [f"bad{number}.csv", f"nowhere{number}.csv"]
            names += self.dead[-2:]
        self.names += names
        self._push_names(names)
        if self.rng.random() < CHANGED_SHARE:
            self._await_work()
            changed = names[: FILES_A_ROUND // 4]
            for name, source in zip(changed, names[FILES_A_ROUND // 4 :], strict=False):
                self.plant.write(name, self.plant.pushed[source])
            self._push_names(changed)

    def _push_names(self, names: list[str]) -> None:
        self.plant.push(*names)
        self.pushes += len(names)

    def _await_work(self) -> None:
        """Until a run works on files, if one does: after some kills that takes a while."""
        with suppress(TimeoutError), self.plant.open_queue() as queue:
            deadline = time.monotonic() + WORK_LIMIT_SECONDS
            while not queue.stats().started and time.monotonic() < deadline:
                time.sleep(0.02)

    def _restart_redis(self) -> None:
        self.plant.redis.kill()
        time.sleep(self.rng.uniform(0, INSTANT_SECONDS))
        self.plant.redis.start()

    def _kill_warm_start(self) -> int:
        """Nobody is left then to tell Dagster that the runs are dead."""
        warm = self.plant.dagster.warm_runs
        workers = warm.children()
        warm.kill()
        killed = 1 + _kill_all(workers)
        warm.start()
        return killed


def _once(kill: Callable[[], None]) -> int:
    kill()
    return 1


def _kill_all(pids: list[int]) -> int:
    killed = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def soak(directory: Path, rounds: int, seed: int, warm: bool) -> Mapping[str, int | float]:
    """Run a soak to its proof; returns its figures.

    Raises:
        AssertionError: something was lost, wrong, or left.
        TimeoutError: something waited for ever.
    """
    began = time.monotonic()
    with running_plant(directory, warm=warm, **RULES) as plant:
        under_way = Soak(plant, random.Random(seed))
        under_way.run(rounds)
        killing = time.monotonic()
        plant.await_drained(DRAIN_LIMIT_SECONDS)
        drained = time.monotonic()
        plant.prove(under_way.names, dead=under_way.dead)
        runs = Counter(run.status.value.lower() for run in plant.runs())
        with plant.open_queue() as queue:
            completed = queue.stats().completed
        return {
            "names": len(under_way.names),
            "pushes": under_way.pushes,
            "completions": completed,
            "outputs equal to pandas, with history": len(under_way.names) - len(under_way.dead),
            "dead letters, each with its reason": len(under_way.dead),
            **{f"runs: {status}": count for status, count in sorted(runs.items())},
            **{f"killed: {victim}": count for victim, count in sorted(under_way.kills.items())},
            "killed in all": under_way.kills.total(),
            "seconds of pushing and killing": round(killing - began, 1),
            "seconds until all was done": round(drained - killing, 1),
        }


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="each pushes some files and kills once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cold", action="store_true", help="runs are processes of the code server")
    parser.add_argument("--keep", type=Path, help="directory for everything, kept afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = soak(options.keep or Path(temporary), options.rounds, options.seed, warm=not options.cold)
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value:>9,}" for name, value in figures.items()))
    print("\nnothing lost, nothing wrong, nothing left waiting")


if __name__ == "__main__":
    main()
