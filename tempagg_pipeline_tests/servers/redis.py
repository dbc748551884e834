"""A real Redis server."""

import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tempagg_pipeline.core.redis_connection import RedisClient, connect
from tempagg_pipeline.core.redis_server import RedisServerNotFoundError, RedisServerProgram, find_redis_server
from tempagg_pipeline.core.settings import RedisSettings
from tempagg_pipeline_tests.servers.processes import free_port, stop, wait_until
from tempagg_pipeline_tests.servers.required import require


@dataclass
class RedisServer:
    """A server that the test may kill and start again; it wants a password."""

    directory: Path
    program: RedisServerProgram
    config: Sequence[str]
    sentinel: bool
    port: int
    password: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> RedisSettings:
        """Settings that reach the server."""
        return RedisSettings.model_validate({"url": self.url})

    @property
    def url(self) -> str:
        """Its URL, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """Environment that makes the pipeline use the server."""
        return {"REDIS_URL": self.url}

    def client(self) -> RedisClient:
        """A client as the pipeline makes it."""
        return connect(self.settings)

    def start(self) -> None:
        """Start it, again if it was killed, and wait until it serves."""
        lines = [
            "bind 127.0.0.1", f"port {self.port}", f"requirepass {self.password}", f'dir "{self.directory}"',
            *([] if self.sentinel else ['save ""']), *self.config,
        ]  # fmt: skip
        (self.directory / "redis.conf").write_text("\n".join([*lines, ""]))
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program.path, self.directory / "redis.conf", *(["--sentinel"] if self.sentinel else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self.serves, f"{self.program.path} serves")

    def serves(self) -> bool:
        """Whether it answers."""
        from redis import Redis
        from redis.exceptions import RedisError

        try:
            with Redis(port=self.port, password=self.password) as client:
                return client.ping() is True
        except RedisError:
            return False

    def kill(self) -> None:
        """End it without any notice, as a crash does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            stop(self.process)


def redis_program() -> RedisServerProgram:
    """The server program that this machine prefers; skips or fails the test when there is none."""
    try:
        return find_redis_server()
    except RedisServerNotFoundError as error:
        require(False, str(error))
        raise


@contextmanager
def redis_server(
    directory: Path,
    config: Sequence[str] = (),
    program: RedisServerProgram | None = None,
    *,
    sentinel: bool = False,
    port: int | None = None,
    password: str | None = None,
) -> Iterator[RedisServer]:
    """A running server that keeps its files in a directory; ended with the context.

    Args:
        directory: made if need be.
        config: lines of redis.conf beside the usual ones; without any it keeps nothing on disk.
        program: default: the one that the machine prefers.
        sentinel: be a sentinel instead.
        port: default: a free one.
        password: default: a random one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    server = RedisServer(
        directory,
        program or redis_program(),
        config,
        sentinel,
        port or free_port(),
        password or secrets.token_urlsafe(16),
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()
