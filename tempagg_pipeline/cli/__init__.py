"""The command line: ``tempagg``. Commands import what they need when they run, so that ``--help`` is quick."""

import click

from tempagg_pipeline.cli.data import locations, sample, show_settings, summary
from tempagg_pipeline.cli.local import demo, ui
from tempagg_pipeline.cli.queue import enqueue, queue


class _Commands(click.Group):
    """A wrong setting, or a server that does not answer, is one clear line, not a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        from tempagg_pipeline.core.embedded_redis import EmbeddedRedisError
        from tempagg_pipeline.core.object_store import StoreUnavailableError
        from tempagg_pipeline.core.redis_server import RedisServerNotFoundError
        from tempagg_pipeline.core.settings import SettingsError
        from tempagg_pipeline.core.work_queue import QueueUnavailableError

        expected = (
            SettingsError, StoreUnavailableError, QueueUnavailableError, EmbeddedRedisError, RedisServerNotFoundError,
        )  # fmt: skip
        try:
            return super().invoke(ctx)
        except expected as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands)
@click.version_option(package_name="tempagg_pipeline")
def main() -> None:
    """One-minute station temperatures to hourly statistics, orchestrated by Dagster."""


for command in (demo, ui, enqueue, queue, summary, locations, sample, show_settings):
    main.add_command(command)
