"""`nas watch`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command


@click.command("watch", cls=Command)
@click.argument("run", type=PATH)
@click.option("--port", type=click.IntRange(min=1, max=65535), help="Port to listen on.  [default: any free one]")
def command(run: Path, port: int | None) -> None:
    """Show the report of a run in a browser on this machine, and follow it while the run goes on; Ctrl-C ends it."""
    from nas.report.watch import serve

    serve(run, port or 0, lambda address: click.echo(f"{run}: {address} (Ctrl-C ends it)"))
