"""Commands about the queue: put files on it, see what is on it, deal with dead letters."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tempagg_pipeline.cli.queue_session import queue_session

if TYPE_CHECKING:
    from tempagg_pipeline.core.work_queue import DeadLetter, LeaseInfo, QueueStats, WorkQueue

_WATCH_EVERY_SECONDS = 1.0
_BAR_CELLS = 30
_LEASE_COLUMNS = ("lease", "held by", "files", "begun", "age", "expires in")
_LETTER_COLUMNS = ("file", "reason", "attempts", "last run", "died")


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--all", "which", flag_value="all", help="Every raw file in the store.")
@click.option("--missing", "which", flag_value="missing", help="Raw files without an hourly file.")
@click.option("--stale", "which", flag_value="stale", help="Raw files newer than their hourly file, or without one.")
def enqueue(files: Sequence[str], which: str | None) -> None:
    """Push file names (temperature1.csv) to the queue: those given, or those found in the store.

    Dead letters whose raw file has not changed are left out of --missing and --stale; name them to try them again.
    """
    if bool(files) == bool(which):
        raise click.UsageError("give file names, or one of --all, --missing and --stale")
    with queue_session() as queue:
        count = queue.enqueue(files or _found(which or "", queue))
    click.echo(f"{count:,} files pushed to {queue.name}")


def _found(which: str, queue: "WorkQueue") -> Sequence[str]:
    from tempagg_pipeline.core.catch_up import files_to_catch_up
    from tempagg_pipeline.core.inventory import take_inventory
    from tempagg_pipeline.core.locations import raw_name
    from tempagg_pipeline.core.object_store import open_landing, open_store
    from tempagg_pipeline.core.settings import settings

    config = settings().store
    inventory = take_inventory(open_store(config), open_landing(config))
    if which == "all":
        return [raw_name(location) for location in sorted(inventory.raw)]
    files = files_to_catch_up(inventory, queue)
    missing = {raw_name(location) for location in inventory.missing}
    return [name for name in files if which == "stale" or name in missing]


@click.group()
def queue() -> None:
    """Look at the queue, and deal with its dead letters."""


@queue.command()
def status() -> None:
    """How many files are ready, delayed, leased, dead; and who holds leases."""
    with queue_session() as session:
        stats, leases = session.stats(), session.leases()
    click.echo(_table(_figures(stats)))
    if leases:
        click.echo("\n" + _table([_lease_row(lease) for lease in leases], headers=_LEASE_COLUMNS))


@queue.command()
@click.option("--limit", default=20, show_default=True)
def peek(limit: int) -> None:
    """The file names that come next, without claiming them."""
    with queue_session() as session:
        for name in session.peek(limit):
            click.echo(name)


@queue.command()
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0, show_default=True)
def dead(limit: int, offset: int) -> None:
    """Dead letters, newest first, with the reason."""
    with queue_session() as session:
        letters = session.dead_letters(offset, limit)
    click.echo(_table([_letter_row(letter) for letter in letters], headers=_LETTER_COLUMNS) if letters else "none")


@queue.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
def requeue(files: Sequence[str], everything: bool) -> None:
    """Try dead letters again, from the first attempt on."""
    with queue_session() as session:
        click.echo(f"{session.requeue(_chosen(files, everything)):,} dead letters are on the queue again")


@queue.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
def purge(files: Sequence[str], everything: bool) -> None:
    """Throw dead letters away. The raw files stay where they are."""
    with queue_session() as session:
        click.echo(f"{session.purge(_chosen(files, everything)):,} dead letters thrown away")


@queue.command()
def watch() -> None:
    """A live view of the queue with its progress, until it is drained or Ctrl-C."""
    with queue_session() as session:
        follow(session)


def follow(session: "WorkQueue", limit_seconds: float | None = None) -> bool:
    """Show the queue's progress until nothing is left to do; false when the limit was over before.

    On a terminal one line is drawn over and over; else a line is written whenever figures have changed.
    """
    started = time.monotonic()
    done_before = session.stats().completed
    is_terminal = sys.stdout.isatty()
    shown = ""
    while True:
        stats = session.stats()
        line = _progress(stats, stats.completed - done_before)
        if line != shown:
            click.echo(f"\r\x1b[K{line}" if is_terminal else line, nl=not is_terminal)
            shown = line
        if not stats.unfinished:
            break
        if limit_seconds is not None and time.monotonic() - started > limit_seconds:
            break
        time.sleep(_WATCH_EVERY_SECONDS)
    if is_terminal:
        click.echo()
    return not stats.unfinished


def _lease_row(lease: "LeaseInfo") -> Sequence[object]:
    age, rest = _duration(lease.age_seconds), _duration(lease.expires_in_seconds)
    return lease.token, lease.owner, lease.names, lease.started, age, rest


def _letter_row(letter: "DeadLetter") -> Sequence[object]:
    return letter.name, letter.reason, letter.attempts, letter.owner, letter.died.isoformat(" ", "seconds")


def _chosen(files: Sequence[str], everything: bool) -> Sequence[str] | None:
    if bool(files) == everything:
        raise click.UsageError("give file names, or --all")
    return None if everything else files


def _figures(stats: "QueueStats") -> list[tuple[str, object]]:
    return [
        ("ready", stats.ready),
        ("delayed", stats.delayed),
        ("leased", stats.leased),
        ("of these begun", stats.started),
        ("pushed while leased", stats.parked),
        ("dead letters", stats.dead),
        ("completed", stats.completed),
        ("oldest waits for", _duration(stats.oldest_seconds)),
    ]


def _progress(stats: "QueueStats", done: int) -> str:
    total = done + stats.unfinished
    filled = _BAR_CELLS * done // total if total else _BAR_CELLS
    bar = "#" * filled + "." * (_BAR_CELLS - filled)
    return (
        f"[{bar}] {done:,} done, {stats.ready + stats.parked:,} ready, {stats.delayed:,} delayed,"
        f" {stats.leased:,} leased, {stats.dead:,} dead"
    )


def _duration(seconds: float) -> str:
    if seconds < 0:
        return "over"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _table(rows: Sequence[Sequence[object]], headers: Sequence[str] = ()) -> str:
    from tabulate import tabulate

    return tabulate(rows, headers=headers, intfmt=",", tablefmt="simple" if headers else "plain")
