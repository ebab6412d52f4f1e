"""Console and progress bars, with rich's markup and emoji disabled, because names may contain brackets and colons."""

import os

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

_PAGE = 160  # columns of output to a file or pipe


def make_console() -> Console:
    """Console on the terminal, or, without one, wide enough for tables (COLUMNS overrides the width).

    Markup and emoji codes are printed literally; styles are set by argument.
    """
    console = _console()
    return console if console.is_terminal or "COLUMNS" in os.environ else _console(_PAGE)


def _console(width: int | None = None) -> Console:
    return Console(soft_wrap=True, width=width, markup=False, emoji=False)


def make_bar(console: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """A progress bar, by default with description, percentage and time left; disabled without a terminal."""
    usual = (text_column("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*(columns or usual), console=console, disable=not console.is_terminal, transient=transient)


def text_column(pattern: str) -> TextColumn:
    """A bar's column of literal text."""
    return TextColumn(pattern, markup=False)
