"""`nas best`."""

from pathlib import Path

import click

from nas.commands.options import LATENCY, PATH, Command


@click.command("best", cls=Command)
@click.argument("run", type=PATH)
@click.option("--latency-budget", "budget_ms", type=LATENCY, help="Latency budget: 12ms.  [default: show the Pareto front]")
def command(run: Path, budget_ms: float | None) -> None:
    """Show a run's best network for another latency budget, without a new search."""
    from nas.report import front

    front.best(run, budget_ms)
