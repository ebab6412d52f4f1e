"""--quiet and --json."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from nas.output import Output

F = TypeVar("F", bound=Callable[..., Any])


def as_json(command: F) -> F:
    """Decorator that adds --json to a command, which gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, and nothing else.")(
        command
    )


def printing(command: F) -> F:
    """Decorator that adds --quiet and --json to a command, which gets them as `output`."""

    @wraps(command)
    def with_output(*, quiet: bool, as_json: bool, **rest: Any) -> Any:
        if quiet and as_json:
            raise click.UsageError("--quiet and --json are mutually exclusive")
        return command(output=Output(quiet, as_json), **rest)

    as_json(with_output)
    click.option("--quiet", is_flag=True, help="Print the result only, no progress.")(with_output)
    return cast(F, with_output)
