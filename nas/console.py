"""The console that commands print on, and its bars: text is text, whatever brackets and colons a person's names hold."""

import os

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

_PAGE = 160  # columns of output that goes to a file or a pipe


def make_console() -> Console:
    """The terminal; where there is none, a page that is wide enough for tables (COLUMNS sets another width).

    Nothing that is printed, in tables either, is markup or an emoji's name; what has a style is given it by argument.
    """
    console = _console()
    return console if console.is_terminal or "COLUMNS" in os.environ else _console(_PAGE)


def _console(width: int | None = None) -> Console:
    return Console(soft_wrap=True, width=width, markup=False, emoji=False)


def make_bar(console: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """A progress bar, by default with a description, a share and the time left; silent without a terminal."""
    usual = (text_column("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*(columns or usual), console=console, disable=not console.is_terminal, transient=transient)


def text_column(pattern: str) -> TextColumn:
    """A column of a bar that shows text as it is."""
    return TextColumn(pattern, markup=False)
