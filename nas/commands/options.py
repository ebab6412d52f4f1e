"""Types of options, and options that several commands share."""

import re
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nas.pareto import COSTS
from search_spaces.errors import InputError, quoted
from search_spaces.resources import expanded

_UNITS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0}

_DAYS = 11 * 24 * 3600  # the longest that is understood, in seconds

_TIMES = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class _Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit, such as 20ms; converted to the unit whose factor is 1."""

    def __init__(self, name: str, units: dict[str, float], example: str) -> None:
        self.name, self._units, self._example = name, units, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"\s*([0-9]{0,20}\.?[0-9]{1,20})\s*([a-zµ]+)\s*", str(value))
        if not match or match[2] not in self._units:
            units = ", ".join(self._units)
            self.fail(f"{quoted(value)} is not a number with a unit ({units}), such as {self._example}", param, ctx)
        number = float(match[1]) * self._units[match[2]]
        if not 0 < number / self._units["s"] <= _DAYS:
            self.fail(f"{value} must be above 0 and less than eleven days", param, ctx)
        return number


class _Path(click.Path):
    """A path; `~` and `~name` are home folders."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value == "":
            self.fail("it is empty", param, ctx)
        try:
            return expanded(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)


class Finite(click.FloatRange):
    """A number in a range, which nan is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number", param, ctx)
        return number


LATENCY = _Quantity("latency", _UNITS, "20ms")

DURATION = _Quantity("duration", _TIMES, "15m")

AT_LEAST_1 = click.IntRange(min=1, max=10**6)

SEED = click.IntRange(min=0, max=2**32 - 1)

PATH = _Path(path_type=Path)

FIT = click.option(
    "--fit",
    type=click.Choice(["crop", "pad"]),
    default="crop",
    show_default=True,
    help="Bring images to an input by cropping what is beyond it, or by padding them with black.",
)

METRIC = click.option(
    "--metric",
    type=click.Choice(["top1", "balanced_accuracy", "macro_f1"]),
    default="top1",
    show_default=True,
    help="By which accuracies are told and networks ranked.",
)

SIZE = click.option("--input", "size", help="Input: a side, or HEIGHTxWIDTH.  [default: the network's own]")


def refuse_unused(**unused: tuple[bool, str]) -> None:
    """Raises click.UsageError for a flag that was given though it has no effect: (whether it has none, why and what has)."""
    context = click.get_current_context()
    for parameter in context.command.params:
        useless, why = unused.get(parameter.name or "", (False, ""))
        if useless and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} has no effect here: {why}")


def objectives(_: click.Context, __: click.Parameter, value: str) -> str | None:
    """The second objective, None when accuracy is the only one."""
    first, _comma, second = (part.strip() for part in value.partition(","))
    if first != "accuracy" or second not in ("", *COSTS):
        raise click.BadParameter(
            f'"{value}" is not accuracy, or accuracy and one of {", ".join(COSTS)}, such as accuracy,latency'
        )
    return second or None


class Command(click.Command):
    """A command none of whose arguments and flags may be given as nothing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            name, value = parameter.name or "", ctx.params.get(parameter.name or "")
            given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
            if given and (value == "" or (isinstance(value, tuple) and "" in value)):
                raise click.BadParameter("it is empty", ctx, parameter)
        return rest


class Group(click.Group):
    """Commands of this kind."""

    command_class = Command
    group_class = type
