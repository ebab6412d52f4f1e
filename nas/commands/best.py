"""`nas best`."""

from pathlib import Path

import click

from nas.commands.options import LATENCY, PATH, Command


@click.command("best", cls=Command)
@click.argument("run", type=PATH)
@click.option(
    "--latency-budget", "budget_ms", type=LATENCY, help="Another budget than the run's: 12ms.  [default: show the front]"
)
def command(run: Path, budget_ms: float | None) -> None:
    """What a run answers for another latency budget, without another search."""
    from nas.report import front

    front.best(run, budget_ms)
