"""`nas resume`."""

from pathlib import Path

import click

from nas.commands.options import (
    AT_LEAST_1,
    PATH,
    Command,
    refuse_unused,
)


@click.command("resume", cls=Command)
@click.argument("run", type=PATH)
@click.option("--workers", type=AT_LEAST_1, help="Trainings at once.  [default: as before]")
def command(run: Path, workers: int | None) -> None:
    """Go on with an interrupted search or training; nothing that was finished is done again."""
    from nas.sessions import search, train
    from nas.training.plan import is_training

    refuse_unused(workers=(is_training(run), f"{run} is a training of one network"))
    if is_training(run):
        train.resume(run)
    else:
        search.resume(run, workers)
