"""`nas resume`."""

from pathlib import Path

import click

from nas.commands.options import AT_LEAST_1, PATH, Command, refuse_unused, showing
from nas.console import make_console


@click.command("resume", cls=Command)
@click.argument("run", type=PATH)
@click.option("--workers", type=AT_LEAST_1, help="Parallel trainings.  [default: as before]")
def command(run: Path, workers: int | None) -> None:
    """Resume an interrupted search or training; finished work is not repeated."""
    from nas.report import ending
    from nas.sessions import search, train
    from nas.training import summary
    from nas.training.plan import is_training

    refuse_unused(workers=(is_training(run), f"{run} is a training of one network"))
    with showing() as progress:
        if not is_training(run):
            found = search.resume(run, workers, progress)
        else:
            train.resume(run, progress)
    if is_training(run):
        summary.show(make_console(), run)
    else:
        ending.show(make_console(), found)
