"""Commands that run the pipeline on this machine, with every server they need."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tempagg_pipeline.cli.instance_home import (
    await_runs,
    child,
    open_instance,
    prepare_home,
    sole_daemon,
    warm_runs,
    workspace_options,
)
from tempagg_pipeline.cli.queue import follow
from tempagg_pipeline.cli.queue_session import queue_session

if TYPE_CHECKING:
    from tempagg_pipeline.core.object_store import ObjectStore

_LIMIT_SECONDS = 300


@click.command()
def demo() -> None:
    """Run the bundled samples through the whole pipeline: queue, sensor, runs, hourly files; then show the result.

    Files whose result is up to date are left alone, so a second run is quick.
    """
    from tempagg_pipeline.cli.data import summary_table
    from tempagg_pipeline.core.catch_up import files_to_catch_up
    from tempagg_pipeline.core.inventory import take_inventory

    home = prepare_home()
    store = _local_store()
    _add_samples(store)
    with queue_session() as queue, open_instance() as instance:
        files = files_to_catch_up(take_inventory(store), queue)
        if files or queue.stats().unfinished:
            queue.enqueue(files)
            click.echo(f"{len(files)} files pushed to the Redis list {queue.name}; the sensor hands them to runs:")
            with _daemon(home):
                if not follow(queue, _LIMIT_SECONDS):
                    raise click.ClickException(f"files are still on the queue after {_LIMIT_SECONDS} s: see {home}")
                await_runs(instance)
        else:
            click.echo("All hourly files are up to date: nothing to run.")
        dead = queue.dead_letters()
        click.echo(f"\n{summary_table(instance)}\n")
    for letter in dead:
        click.echo(f"FAILED {letter.name}: {letter.reason.removeprefix(letter.name + ': ')}")
    click.echo("See it in Dagster's UI: make ui")
    if dead:
        raise SystemExit(1)


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the web server, on loopback.")
def ui(port: int) -> None:
    """Start Dagster's UI and daemon on the local instance, until Ctrl-C."""
    from tempagg_pipeline.core.embedded_redis import cli_command, embedded_redis
    from tempagg_pipeline.core.settings import settings

    home = prepare_home()
    if not settings().store.is_azure:
        _add_samples(_local_store())
    with embedded_redis(settings().redis), sole_daemon(home) as is_sole:
        if not is_sole:
            raise click.ClickException(f"a daemon of {home} runs already: end the other `tempagg` first")
        if settings().redis.is_embedded:
            click.echo(f"Redis: {cli_command(settings().redis)}")
        click.echo(f"Dagster UI: http://127.0.0.1:{port}  (Ctrl-C ends it; history is kept in {home})")
        command = ["dagster", "dev", *workspace_options(), "-h", "127.0.0.1", "-p", str(port)]
        with warm_runs(home), child(command) as process:
            process.wait()


def _local_store() -> "ObjectStore":
    """The local directory: samples never go to a storage account."""
    import os

    from tempagg_pipeline.core.object_store import open_store
    from tempagg_pipeline.core.settings import settings

    if settings().store.is_azure:
        os.environ["TEMPAGG_STORE"] = "local"
        settings.cache_clear()
    return open_store(settings().store)


def _add_samples(store: "ObjectStore") -> None:
    """Put those bundled samples into the store that are not there; what somebody changed is left as it is."""
    from tempagg_pipeline.core.bundled import bundled_samples

    present = {info.name for info in store.list()}
    for name, content in bundled_samples():
        if name not in present:
            store.replace(name, [content])


@contextmanager
def _daemon(home: Path) -> Iterator[None]:
    """Have a daemon at work on the instance: one that runs already, or one of our own until the context ends."""
    with sole_daemon(home) as is_sole:
        if not is_sole:
            yield
            return
        log = home / "daemon.log"
        with warm_runs(home), child(["dagster-daemon", "run", *workspace_options()], log) as process:
            yield
            if process.poll() is not None:
                raise click.ClickException(f"dagster-daemon ended early: see {log}")
