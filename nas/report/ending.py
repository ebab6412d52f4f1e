"""How a search ends on the terminal: its table, and where the files to deploy are."""

from rich.console import Console

from nas.report import table
from nas.report.result import result
from nas.run.folder import Run
from search_spaces.errors import InputError


def show(console: Console, run: Run) -> None:
    """Raises InputError when no network is within the budget, after the table."""
    found = result(run)
    table.show(console, found)
    if found["best"]:
        console.print(f"Ready to deploy: {run.path / 'export'}", highlight=False)
    elif run.config.measure:
        raise InputError("no network held the budget when it was measured; try a larger budget or more trials")
    else:
        raise InputError("no network could be trained whose predicted bound is in the budget; try more trials")
