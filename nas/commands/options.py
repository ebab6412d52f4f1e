"""Option types, and options shared by several commands."""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from nas.console import make_console
from nas.progress import ConsoleProgress
from nas.run.options import Described, described
from search_spaces.errors import InputError, near_miss, quoted
from search_spaces.resources import expanded

if TYPE_CHECKING:
    from evaluators.precision import Precision

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0}
_DAYS = 11 * 24 * 3600  # longest duration accepted, in seconds
_TIMES = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZES = {"B": 1.0, "KB": 1e3, "kB": 1e3, "MB": 1e6, "KiB": 2.0**10, "MiB": 2.0**20}


class _Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit, such as 20ms, converted to the unit with factor 1; at most `most`, in text `limit`."""

    def __init__(self, name: str, units: dict[str, float], example: str, most: float, limit: str) -> None:
        self.name, self._units, self._example, self._most, self._limit = name, units, example, most, limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"\s*([0-9]{0,20}\.?[0-9]{1,20})\s*([a-zA-Zµ]+)\s*", str(value))
        if not match or match[2] not in self._units:
            units = ", ".join(self._units)
            self.fail(f"{quoted(value)} is not a number with a unit ({units}), such as {self._example}", param, ctx)
        number = float(match[1]) * self._units[match[2]]
        if not 0 < number <= self._most:
            self.fail(f"{value} must be above 0 and at most {self._limit}", param, ctx)
        return number


class _Path(click.Path):
    """A path; expands `~` and `~name`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value == "":
            self.fail("must not be empty", param, ctx)
        try:
            return expanded(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)


class Finite(click.FloatRange):
    """A number in a range, excluding nan."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number", param, ctx)
        return number


LATENCY = _Quantity("latency", _UNITS, "20ms", 1000.0 * _DAYS, "eleven days")
DURATION = _Quantity("duration", _TIMES, "15m", _DAYS, "eleven days")
SIZE = _Quantity("size", _SIZES, "500KB", 1e9, "1,000 MB")
AT_LEAST_0 = click.IntRange(min=0, max=10**6)
AT_LEAST_1 = click.IntRange(min=1, max=10**6)
SEED = click.IntRange(min=0, max=2**32 - 1)
PATH = _Path(path_type=Path)
_LOOK = (
    click.option("--device", default="local", show_default=True, help="Device profile for predicted latency."),
    click.option(
        "--precision", type=click.Choice(["float32", "int8"]), help="Precision of latency.  [default: the device profile's]"
    ),
    click.option(
        "--space", "space_name", default="mobile", show_default=True, help="Space whose calibration is used to predict latency."
    ),
    click.option("--classes", type=AT_LEAST_1, help="Number of classes.  [default: the anchor's or run's, else 1000]"),
    click.option("--input", "size", help="Input size: SIDE, or HEIGHTxWIDTH.  [default: the network's own]"),
)


def looking(command: F) -> F:
    """Decorator that adds the options of commands that look at networks; `device` is passed on at the `precision` asked for."""

    @wraps(command)
    def at_precision(*, device: str, precision: "Precision | None", **rest: Any) -> Any:
        from nas.budget.device import device_at

        return command(device=device_at(device, precision), **rest)

    for option in reversed(_LOOK):
        option(at_precision)
    return cast(F, at_precision)


def showing() -> ConsoleProgress:
    """Progress display on the terminal, a context manager."""
    return ConsoleProgress(make_console())


def refuse_unused(**unused: tuple[bool, str]) -> None:
    """Raise click.UsageError for a flag that was given but has no effect; values are (has no effect, why)."""
    context = click.get_current_context()
    for parameter in context.command.params:
        useless, why = unused.get(parameter.name or "", (False, ""))
        if useless and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} has no effect here: {why}")


class _Commas(click.ParamType):  # type: ignore[type-arg]
    """Comma-separated words."""

    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        return value if isinstance(value, tuple) else tuple(word.strip() for word in str(value).split(","))


class _Number(click.Choice):  # type: ignore[type-arg]
    """One of a few whole numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return int(super().convert(str(value), param, ctx))


def options_of(configuration: type, without: Sequence[str] = ()) -> Callable[[F], F]:
    """Decorator that adds an option to a command for each configuration field with an Option, except those named."""

    def add(command: F) -> F:
        for one in reversed(described(configuration)):
            command = command if one.name in without else _option(one)(command)
        return command

    return add


def _option(one: Described) -> Callable[[F], F]:
    how: dict[str, Any] = {"help": one.option.help, "metavar": one.option.metavar or None}
    if one.kind is bool:
        flag = f"{one.flag}/--no-{one.flag[2:]}" if one.default else one.flag
        return click.option(flag, one.name, is_flag=True, default=one.default, show_default=one.default, **how)
    if one.option.unset:
        how["help"] += f"  [default: {one.option.unset}]"
    how |= {"required": one.required, "multiple": one.several and not one.option.commas}
    if not one.required and one.default is not None and one.default != ():
        default = ",".join(one.default) if one.option.commas else one.default
        how |= {"default": default, "show_default": True}
    return click.option(one.flag, one.name, type=_type(one), **how)


def _type(one: Described) -> Any:
    if one.option.unit:
        return {"ms": LATENCY, "s": DURATION, "bytes": SIZE}[one.option.unit]
    if one.option.commas:
        return _Commas()
    if one.choices:
        return (_Number if one.kind is int else click.Choice)([str(choice) for choice in one.choices])
    if one.kind is int:
        return click.IntRange(min=_whole(one.low), max=_whole(one.high))
    if one.kind is float:
        return Finite(one.low, one.below if one.high is None else one.high, max_open=one.high is None)
    return str


def _whole(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


class Command(click.Command):
    """A command that rejects empty arguments and flags."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        for parameter in self.params:
            name, value = parameter.name or "", ctx.params.get(parameter.name or "")
            given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
            if given and (value == "" or (isinstance(value, tuple) and "" in value)):
                raise click.BadParameter("must not be empty", ctx, parameter)
        return rest


class Group(click.Group):
    """A group whose commands are of class Command; suggests the closest command for one that there is not."""

    command_class = Command
    group_class = type

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.get_command(ctx, args[0]) is not None or args[0].startswith("-") or ctx.resilient_parsing
        if not known:
            ctx.fail(f"there is no command {quoted(args[0])}{near_miss(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
