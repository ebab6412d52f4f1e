"""`nas compress`."""

from pathlib import Path
from typing import Any

import click

from nas.commands.options import PATH, Command, options_of, refuse_unused
from nas.commands.output import printing
from nas.output import Output
from nas.run.config import SearchConfig


@click.command("compress", cls=Command)
@click.argument("network", metavar="ANCHOR|FOLDER")
@options_of(SearchConfig, without=("space", "from_scratch"))
@click.option("--run", "path", type=PATH, help="Folder of the run.  [default: runs/SPACE-BUDGET-TIME]")
@printing
def command(network: str, path: Path | None, output: Output, **options: Any) -> None:
    """Make a trained network smaller, to fit a latency, size or memory budget.

    FOLDER is of `nas train`, `nas export` or a run. Candidates have the network's blocks, fewer and narrower, and smaller
    inputs; they keep its most important channels, and are fine-tuned. Otherwise like `nas search`.
    """
    from nas.executors import evaluators
    from nas.report import ending
    from nas.sessions import search
    from nas.sessions.compress import compressing

    unlimited = options["latency_budget_ms"] is None, "there is no --latency-budget"
    refuse_unused(**evaluators.unused(options["evaluator"]), percentile=unlimited, confidence=unlimited)
    config = compressing(network, SearchConfig(**options))
    with output.progress() as progress:
        run = search.start(config, path, progress)
    ending.end(output, run)
