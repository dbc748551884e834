"""The command line."""

import click


@click.group()
@click.version_option(package_name="tempagg_pipeline")
def main() -> None:
    """One-minute station temperatures to hourly statistics."""
