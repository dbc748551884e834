"""The control groups of a test cluster: one directory in each hierarchy, named after the process that owns it."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "tempagg-tests-"
_REMOVE_LIMIT_SECONDS = 10.0


def name_of(owner: int) -> str:
    """Name of the directory of a process."""
    return f"{_PREFIX}{owner}"


def create(owner: int) -> None:
    """Make it in every hierarchy."""
    for hierarchy in _hierarchies():
        (hierarchy / name_of(owner)).mkdir(exist_ok=True)


def processes(name: str, pod: str) -> set[int]:
    """Processes of a pod, all its containers' together, below the directory of that name."""
    files = [file for hierarchy in _hierarchies() for file in (hierarchy / name).rglob("cgroup.procs")]
    return {int(process) for file in files if pod in file.parts for process in file.read_text().split()}


def remove(owner: int) -> None:
    """Remove it with all below it; its processes have ended."""
    for hierarchy in _hierarchies():
        _remove_tree(hierarchy / name_of(owner))


def remove_orphans() -> None:
    """Remove those whose owner no longer lives: even the supervisor can be killed."""
    for hierarchy in _hierarchies():
        for directory in hierarchy.glob(f"{_PREFIX}*"):
            owner = directory.name.removeprefix(_PREFIX)
            if not Path("/proc", owner).exists():
                _remove_tree(directory)


def _hierarchies() -> list[Path]:
    """Mount points of version 1 controllers, or the one of version 2."""
    mounts = Path("/proc/self/mountinfo").read_text()
    return [Path(point) for point in re.findall(r"^(?:\S+ ){4}(\S+) .* - cgroup2? ", mounts, re.MULTILINE)]


def _remove_tree(directory: Path) -> None:
    deadline = time.monotonic() + _REMOVE_LIMIT_SECONDS
    while directory.exists():
        for path, _, _ in os.walk(directory, topdown=False):
            with suppress(OSError):  # a process that was just killed may still count
                Path(path).rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)
