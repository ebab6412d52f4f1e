"""`nas status`."""

from pathlib import Path

import click

from nas.commands.options import PATH, Command


@click.command("status", cls=Command)
@click.argument("run", type=PATH)
def command(run: Path) -> None:
    """Show the progress of a run or training, and the best network so far."""
    from nas.report import status
    from nas.training import summary
    from nas.training.plan import is_training

    (summary if is_training(run) else status).status(run)
