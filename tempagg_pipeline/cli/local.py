"""Commands that run the pipeline on this machine, with every server they need."""

import click


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the web server, on loopback.")
def ui(port: int) -> None:
    """Start Dagster's UI and daemon on the local instance, until Ctrl-C."""
    from tempagg_pipeline.cli.instance_home import child, prepare_home, sole_daemon, workspace_options

    home = prepare_home()
    with sole_daemon(home) as is_sole:
        if not is_sole:
            raise click.ClickException(f"a daemon of {home} runs already: end the other `tempagg` first")
        fill_store_if_empty()
        click.echo(f"Dagster UI: http://127.0.0.1:{port}  (Ctrl-C ends it; history is kept in {home})")
        with child(["dagster", "dev", *workspace_options(), "-h", "127.0.0.1", "-p", str(port)]) as process:
            process.wait()


def fill_store_if_empty() -> None:
    """Put the bundled samples into a local store that has no objects yet, so that there is something to see."""
    from tempagg_pipeline.core.bundled import bundled_samples
    from tempagg_pipeline.core.object_store import open_store
    from tempagg_pipeline.core.settings import settings

    config = settings().store
    if config.is_azure:
        return
    store = open_store(config)
    if next(store.list(), None) is None:
        for name, content in bundled_samples():
            store.replace(name, [content])
