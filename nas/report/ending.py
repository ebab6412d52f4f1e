"""Final output of a search: the result table and the export folder."""

from typing import Any

from rich.console import Console

from nas.output import Output
from nas.report import table
from nas.report.page import PAGE
from nas.report.result import result
from nas.run.folder import Run
from search_spaces.errors import InputError


def show(console: Console, run: Run, found: dict[str, Any]) -> None:
    """Print the result."""
    table.show(console, found)
    console.print(f"Report: {run.path / PAGE}", highlight=False)
    if found["best"]:
        console.print(f"Ready to deploy: {run.path / 'export'}", highlight=False)


def end(output: Output, run: Run) -> None:
    """Print the result as asked for; raises InputError afterwards if no network is within the budget."""
    found = result(run)
    output.result(found, lambda console: show(console, run, found))
    if found["best"]:
        return
    if run.config.measure:
        raise InputError("no network was within the budget when measured; try a larger budget or more trials")
    raise InputError("no trained network has a predicted upper bound within the budget; try more trials")
