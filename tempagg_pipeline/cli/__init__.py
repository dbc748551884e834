"""The command line: ``tempagg``. Commands import what they need when they run, so that ``--help`` is quick."""

import click

from tempagg_pipeline.cli.data import locations, sample, show_settings, summary
from tempagg_pipeline.cli.local import demo, ui


@click.group()
@click.version_option(package_name="tempagg_pipeline")
def main() -> None:
    """One-minute station temperatures to hourly statistics, orchestrated by Dagster."""


for command in (demo, ui, summary, locations, sample, show_settings):
    main.add_command(command)
