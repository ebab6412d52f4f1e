"""--quiet and --json: how much a command prints."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import click
from rich.console import Console

from nas.commands.options import showing
from nas.console import make_console
from nas.progress import Progress, Silent

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Output:
    """What a command prints: progress and the result for people, the result alone, or as JSON."""

    quiet: bool
    as_json: bool

    def progress(self) -> AbstractContextManager[Progress]:
        """The display of progress, a context manager."""
        return nullcontext(Silent()) if self.quiet or self.as_json else showing()

    def result(self, found: dict[str, Any], show: Callable[[Console], None]) -> None:
        """Print a result: one JSON object on one line, or what `show` prints."""
        if self.as_json:
            click.echo(json.dumps(found))
        else:
            show(make_console())


def printing(command: F) -> F:
    """Decorator that adds --quiet and --json to a command, which gets them as `output`."""

    @wraps(command)
    def with_output(*, quiet: bool, as_json: bool, **rest: Any) -> Any:
        if quiet and as_json:
            raise click.UsageError("--quiet and --json are mutually exclusive")
        return command(output=Output(quiet, as_json), **rest)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, and nothing else."),
        click.option("--quiet", is_flag=True, help="Print the result only, no progress."),
    ):
        option(with_output)
    return cast(F, with_output)
