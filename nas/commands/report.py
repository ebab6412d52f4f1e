"""`nas report`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command
from nas.commands.output import as_json
from nas.output import Output


@click.command("report", cls=Command)
@click.argument("runs", metavar="RUN [RUN ...]", type=PATH, nargs=-1, required=True)
@click.option(
    "--to", "path", type=PATH, help="File to write.  [default: RUN/report.html; comparison.html beside the first run]"
)
@as_json
def command(runs: tuple[Path, ...], path: Path | None, as_json: bool) -> None:
    """Write a page about a run, or one that compares runs, and print its path.

    The page is one file that needs no network access. It can be written while a run goes on.
    """
    from nas.report.page.comparison import write_comparison
    from nas.report.page.write import write_page
    from nas.run.folder import open_run

    found = write_comparison(runs, path) if len(runs) > 1 else {"page": str(write_page(open_run(runs[0]), path=path))}
    Output(as_json=as_json).result(found, lambda console: click.echo(found["page"]))
