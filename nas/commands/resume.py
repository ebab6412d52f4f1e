"""`nas resume`."""

from pathlib import Path

import click

from nas.commands.options import AT_LEAST_0, PATH, Command, refuse_unused
from nas.commands.output import printing
from nas.output import Output


@click.command("resume", cls=Command)
@click.argument("run", type=PATH)
@click.option("--workers", type=AT_LEAST_0, help="Parallel trainings; 0: in this process, without Ray.  [default: as before]")
@printing
def command(run: Path, workers: int | None, output: Output) -> None:
    """Resume an interrupted search or training; finished work is not repeated."""
    from nas.report import ending
    from nas.sessions import search, train
    from nas.training import summary
    from nas.training.plan import is_training

    refuse_unused(workers=(is_training(run), f"{run} is a training of one network"))
    with output.progress() as progress:
        if not is_training(run):
            found = search.resume(run, workers, progress)
        else:
            train.resume(run, progress)
    if is_training(run):
        summary.end(output, run)
    else:
        ending.end(output, found)
