"""Commands about data: sample files, locations, what has been computed, settings."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import dagster as dg

_SUMMARY_COLUMNS = ("location", "hours", "readings", "missing", "min °C", "mean °C", "max °C", "output")

_DAYS, _SHARE, _COUNT = click.FloatRange(0.001, 36_525), click.FloatRange(0, 1), click.IntRange(0)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--days", default=7.0, type=_DAYS, show_default=True, help="Length; 1,440 rows a day.")
@click.option("--start", type=click.DateTime(), default="2024-01-01", show_default=True, help="First timestamp.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same file.")
@click.option("--gaps", default=0.0, type=_SHARE, show_default=True, help="Share of minutes without a reading, 0 to 1.")
@click.option(
    "--outages", default=0, type=_COUNT, show_default=True, help="Stretches of one to six hours without any row."
)
def sample(file: Path, days: float, start: datetime, seed: int, gaps: float, outages: int) -> None:
    """Write a made-up raw CSV to FILE, of any length."""
    from tempagg_pipeline.core.sample import SampleSpec, sample_csv

    with file.open("wb") as output:
        output.writelines(sample_csv(SampleSpec(seed, start, days, gaps, outages)))


@click.command()
def locations() -> None:
    """Register the locations found in the store as partitions, and list them all."""
    from tempagg_pipeline.cli.instance_home import open_instance, prepare_home
    from tempagg_pipeline.orchestration.partitions import PARTITIONS_NAME, locations_in_store, register_locations

    prepare_home()
    with open_instance() as instance:
        new = set(register_locations(instance, locations_in_store()))
        for location in instance.get_dynamic_partitions(PARTITIONS_NAME):
            click.echo(f"{location}  (new)" if location in new else location)


@click.command()
def summary() -> None:
    """Show what the latest hourly partition of each location holds."""
    from tempagg_pipeline.cli.instance_home import open_instance, prepare_home

    prepare_home()
    with open_instance() as instance:
        click.echo(summary_table(instance))


def summary_table(instance: "dg.DagsterInstance") -> str:
    """One line a location from Dagster's history: figures of its hourly partition, and where that is."""
    from tabulate import tabulate

    from tempagg_pipeline.orchestration.history import latest_hourly
    from tempagg_pipeline.orchestration.partitions import PARTITIONS_NAME, natural

    known = instance.get_dynamic_partitions(PARTITIONS_NAME)
    latest = {made.partition: made.metadata for made in latest_hourly(instance, known) if made.partition}
    rows = [_summary_row(location, latest[location]) for location in sorted(latest, key=natural)]
    return tabulate(rows, headers=_SUMMARY_COLUMNS, floatfmt=".1f", intfmt=",") if rows else "no hourly partitions yet"


def _summary_row(location: str, metadata: "Mapping[str, dg.MetadataValue]") -> Iterable[object]:
    def value(name: str) -> object:
        return metadata[name].value if name in metadata else None

    figures = ("hours", "readings", "missing_minutes", "min_celsius", "mean_celsius", "max_celsius")
    return [location, *map(value, figures), _shown_place(str(value("dagster/uri")))]


def _shown_place(uri: str) -> str:
    """A local object's path as one would type it here; another object's URL."""
    if not uri.startswith("file://"):
        return uri
    path = Path(uri.removeprefix("file://"))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@click.command(name="settings")
@click.option("--markdown", is_flag=True, help="As the table of docs/configuration.md.")
def show_settings(markdown: bool) -> None:
    """List every setting: environment variable, value in force or default, meaning."""
    from tempagg_pipeline.core.settings_table import markdown_table, values_in_force

    click.echo(markdown_table() if markdown else values_in_force())
