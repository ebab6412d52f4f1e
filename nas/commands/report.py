"""`nas report`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command


@click.command("report", cls=Command)
@click.argument("run", type=PATH)
def command(run: Path) -> None:
    """Write report.html, a page about a run that needs no network access, and print its path; works while the run goes on."""
    from nas.report.page.write import write_page
    from nas.run.folder import open_run

    click.echo(write_page(open_run(run)))
