"""`nas search`."""

from pathlib import Path
from typing import Any

import click

from nas.commands.options import PATH, Command, options_of, refuse_unused
from nas.commands.output import printing
from nas.output import Output
from nas.run.config import SearchConfig


@click.command("search", cls=Command)
@options_of(SearchConfig)
@click.option("--run", "path", type=PATH, help="Folder of the run.  [default: runs/SPACE-BUDGET-TIME]")
@printing
def command(path: Path | None, output: Output, **options: Any) -> None:
    """Search a space for the most accurate network within a latency, size or memory budget."""
    from nas.executors import evaluators
    from nas.report import ending
    from nas.sessions import search

    unlimited = options["latency_budget_ms"] is None, "there is no --latency-budget"
    refuse_unused(**evaluators.unused(options["evaluator"]), percentile=unlimited, confidence=unlimited)
    with output.progress() as progress:
        run = search.start(SearchConfig(**options), path, progress)
    ending.end(output, run)
