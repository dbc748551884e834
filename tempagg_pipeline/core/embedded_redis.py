"""The embedded Redis server: started when none is configured, shared by every process of this checkout, kept on disk.

Whoever needs it opens ``embedded_redis(settings)``. The first to do so starts a *keeper*, a small process of its own
that runs the server and starts it again should it crash; the others join. Each user holds a shared lock on one file
while it needs the server, and the keeper waits for the exclusive lock: the kernel tells it when the last user is gone,
however that one ended, and it stops the server. Items survive in the append-only file.

The server listens on loopback alone and wants a password, drawn at random and kept in a file that only its owner can
read. ``redis-cli`` users find the command in ``cli_command``.
"""

import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from tempagg_pipeline.core.redis_connection import QueueUnavailableError
from tempagg_pipeline.core.redis_server import RedisServerProgram, find_redis_server, find_redis_servers
from tempagg_pipeline.core.settings import RedisSettings

HOST = "127.0.0.1"

_START_LIMIT_SECONDS = 60.0
_POLL_SECONDS = 0.02
_ANSWER_LIMIT_SECONDS = 2.0
_LOG_TAIL_CHARACTERS = 2000
_FIRST_WITH_AOF_DIRECTORY = (7, 0)


class EmbeddedRedisError(RuntimeError):
    """The embedded server could not be started; says why, with the end of its log."""


@dataclass(frozen=True)
class EmbeddedFiles:
    """What the embedded server has on disk."""

    directory: Path

    @property
    def users_lock(self) -> Path:
        """Locked shared by whoever needs the server, exclusively by the keeper that stops it."""
        return self.directory / "users.lock"

    @property
    def start_lock(self) -> Path:
        """Locked by who looks whether the server runs, and starts it."""
        return self.directory / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        """Locked as long as a keeper lives."""
        return self.directory / "keeper.lock"

    @property
    def endpoint(self) -> Path:
        """Port of a server that is ready."""
        return self.directory / "endpoint.json"

    @property
    def password(self) -> Path:
        """The server's password, for its owner's eyes only."""
        return self.directory / "password"

    @property
    def config(self) -> Path:
        """The server's configuration, with the password."""
        return self.directory / "redis.conf"

    @property
    def log(self) -> Path:
        """Output of keeper and server since the keeper's start."""
        return self.directory / "redis.log"

    @property
    def aof_directory(self) -> Path:
        """Append-only file of a server from version 7 on; older ones have a plain file and do not see this."""
        return self.directory / "appendonlydir"


@contextmanager
def embedded_redis(settings: RedisSettings) -> Iterator[RedisSettings]:
    """Join the embedded server, starting it if need be; it runs until the last context of this checkout is left.

    Yields:
        The settings with its URL; the settings as they are where a server is configured.

    Raises:
        RedisServerNotFoundError: there is no server program.
        EmbeddedRedisError: it does not start.
    """
    if not settings.is_embedded:
        yield settings
        return
    files = EmbeddedFiles(settings.embedded_dir.resolve())
    files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as held:
        with _locked(files.start_lock, fcntl.LOCK_EX):
            held.enter_context(_locked(files.users_lock, fcntl.LOCK_SH))
            if not _has_keeper(files):
                _start_keeper(files)
        yield _with_url(settings, files)


def running_endpoint(settings: RedisSettings) -> RedisSettings:
    """The settings with the URL of the embedded server that runs now.

    Raises:
        QueueUnavailableError: none runs.
    """
    files = EmbeddedFiles(settings.embedded_dir.resolve())
    with suppress(FileNotFoundError):
        if _has_keeper(files):
            return _with_url(settings, files)
    raise QueueUnavailableError(
        "no REDIS_URL or REDIS_HOST is set and the embedded Redis server is not running; `tempagg ui` starts it"
    )


def cli_command(settings: RedisSettings) -> str:
    """The shell command that opens redis-cli on the embedded server that runs now.

    Raises:
        QueueUnavailableError: none runs.
    """
    running_endpoint(settings)
    files = EmbeddedFiles(settings.embedded_dir.resolve())
    return f'REDISCLI_AUTH="$(cat {files.password})" redis-cli -p {_port(files)}'


def answers(port: int, password: str) -> bool:
    """Whether our server serves on the port: it takes our password and has loaded its data."""
    return _ask(port, password, b"PING").endswith(b"+PONG\r\n")


def _ask(port: int, password: str, command: bytes) -> bytes:
    """What a server says to one command; b"" when nobody is there. The redis package would take long to import."""
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_LIMIT_SECONDS) as connection:
            connection.sendall(b"AUTH %b\r\n%b\r\nQUIT\r\n" % (password.encode(), command))
            answer = b""
            while received := connection.recv(4096):
                answer += received
            return answer.removesuffix(b"+OK\r\n")
    except OSError:
        return b""


def _has_keeper(files: EmbeddedFiles) -> bool:
    try:
        with _locked(files.keeper_lock, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _start_keeper(files: EmbeddedFiles) -> None:
    program = _program_for(files)
    password = _password(files)
    port = _port_to_use(files, password)
    _write_private(files.config, _config(files, port, password))
    command = [sys.executable, "-m", f"{__name__}_keeper", str(files.directory), str(program.path)]
    with files.log.open("wb") as log:
        keeper = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + _START_LIMIT_SECONDS
    while not files.endpoint.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.terminate()
            tail = files.log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
            raise EmbeddedRedisError(f"{program.path} does not serve; the end of {files.log}:\n{tail}")
        time.sleep(_POLL_SECONDS)


def _program_for(files: EmbeddedFiles) -> RedisServerProgram:
    """The preferred server that can read the data: an old one would not see a newer one's, and begin empty."""
    program = find_redis_server()
    if not files.aof_directory.exists():
        return program
    for candidate in find_redis_servers():
        if candidate.version >= _FIRST_WITH_AOF_DIRECTORY:
            return candidate
    version = ".".join(map(str, program.version))
    raise EmbeddedRedisError(
        f"{files.directory} was written by Redis 7 or newer and {program.path} is {version}, which can't read it;"
        " put a newer redis-server on PATH, or set TEMPAGG_REDIS_DIR"
    )


def _port_to_use(files: EmbeddedFiles, password: str) -> int:
    """The last one if it is free, so that clients which outlived a crash find the server again; else another."""
    last = 0
    with suppress(FileNotFoundError):
        last = _port(files)
        files.endpoint.unlink()
        _end_orphan(last, password)
    for port in (last, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return probe.getsockname()[1]
    raise EmbeddedRedisError("no TCP port is free")


def _end_orphan(port: int, password: str) -> None:
    """A server whose keeper was killed may live on, on systems that do not end a child with its parent."""
    if answers(port, password):
        _ask(port, password, b"SHUTDOWN")
        while answers(port, password):
            time.sleep(_POLL_SECONDS)


def _config(files: EmbeddedFiles, port: int, password: str) -> str:
    directory = str(files.directory).replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(
        (
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{directory}"',
            'save ""',
            "appendonly yes",
            # An answered push is on disk, also when the power fails; it costs a flush for each command.
            "appendfsync always",
            "",
        )
    )


def _password(files: EmbeddedFiles) -> str:
    if not files.password.exists():
        _write_private(files.password, secrets.token_urlsafe(32))
    return files.password.read_text()


def _port(files: EmbeddedFiles) -> int:
    return json.loads(files.endpoint.read_text())["port"]


def _with_url(settings: RedisSettings, files: EmbeddedFiles) -> RedisSettings:
    url = f"redis://:{files.password.read_text()}@{HOST}:{_port(files)}"
    return settings.model_copy(update={"url": SecretStr(url)})


def _write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner alone from the first moment."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


@contextmanager
def _locked(path: Path, mode: int) -> Iterator[None]:
    """Hold a lock on a file; the kernel lets go when this process ends, however it does."""
    with path.open("ab") as file:
        fcntl.flock(file, mode)
        yield
