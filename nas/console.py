"""The console that commands print on."""

import os

from rich.console import Console

_PAGE = 160  # columns of output that goes to a file or a pipe


def make_console() -> Console:
    """The terminal; where there is none, a page that is wide enough for tables (COLUMNS sets another width)."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(soft_wrap=True, width=_PAGE)
