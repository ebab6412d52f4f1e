"""Options: a field of a configuration with what a person must know of it; from it come flags, files, checks and tables."""

import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Option:
    """What a type and a default do not say. It stands in the annotation: `trials: Annotated[Count, Option("...")] = 8`.

    `flag` is the name on the command line, without dashes, where it is not the field's.
    A quantity has its `unit`, ms or s, as part of its name; on the command line it is given with one. `unset` says what happens
    where the value is None. A tuple with `commas` is one value with commas in it, any other one is given several times.
    """

    help: str
    flag: str = ""
    unit: str = ""
    metavar: str = ""
    unset: str = ""
    commas: bool = False


@dataclass(frozen=True)
class Described:
    """A field with its option, as far as types tell: the plain type, the choices of a Literal, bounds of numbers."""

    name: str
    option: Option
    kind: type
    default: Any
    required: bool
    choices: tuple[Any, ...] = ()
    several: bool = False
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    @property
    def flag(self) -> str:
        return f"--{self.option.flag or self.name.replace('_', '-')}"


def described(configuration: type) -> list[Described]:
    """The options of a configuration, a dataclass, in order; fields without an Option are passed over."""
    hints = get_type_hints(configuration, include_extras=True)
    found = []
    for field in fields(configuration):
        parts = _flat(hints[field.name])
        option = next((part for part in parts if isinstance(part, Option)), None)
        if option:
            found.append(_described(field, option, parts))
    return found


def reference(configuration: type) -> str:
    """A Markdown table of the options of a configuration: flag, field, values, default, meaning."""
    lines = ["| option | field | value | default | |", "|---|---|---|---|---|"]
    for one in described(configuration):
        cells = (f"`{one.flag}`", f"`{one.name}`", values_text(one), default_text(one), one.option.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def values_text(one: Described) -> str:
    """What an option can be, in words."""
    if one.kind is bool:
        return "yes or no"
    if one.choices:
        return ", ".join(map(str, one.choices))
    if one.option.unit:
        return {"ms": "a latency, such as 20ms", "s": "a duration, such as 15m"}[one.option.unit]
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("from", one.low), ("above", one.above), ("below", one.below))
        if limit is not None
    ]
    kind = {int: "whole number", float: "number"}.get(one.kind, "text")
    return " ".join([kind, *limits]) + (", several times" if one.several and not one.option.commas else "")


def default_text(one: Described) -> str:
    """The default in words."""
    if one.required:
        return "must be given"
    if one.default is None or one.default == ():
        return one.option.unset or "none"
    if one.kind is bool:
        return "yes" if one.default else "no"
    return ",".join(one.default) if one.several else f"{one.default}"


def _described(field: "Field[Any]", option: Option, parts: Sequence[Any]) -> Described:
    kinds = [part for part in parts if isinstance(part, type) and part is not types.NoneType]
    choices = tuple(value for part in parts if get_origin(part) is Literal for value in get_args(part))
    several = any(get_origin(part) is tuple for part in parts)
    limits: dict[str, float] = {}
    for part in parts:
        for limit in part.metadata if isinstance(part, FieldInfo) else ():
            limits |= {key: getattr(limit, key) for key in ("ge", "le", "gt", "lt") if hasattr(limit, key)}
    has_default = field.default is not MISSING
    return Described(
        name=field.name,
        option=option,
        kind=type(choices[0]) if choices else kinds[0],
        default=field.default if has_default else None,
        required=not has_default,
        choices=choices,
        several=several,
        low=limits.get("ge"),
        high=limits.get("le"),
        above=limits.get("gt"),
        below=limits.get("lt"),
    )


def _flat(hint: Any) -> list[Any]:
    """All parts of a type hint: of Annotated, of unions, of tuples."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *others = get_args(hint)
        return [*_flat(inner), *others]
    if origin in (Union, types.UnionType):
        return [part for one in get_args(hint) for part in _flat(one)]
    if origin is tuple:
        return [hint, *_flat(get_args(hint)[0])]
    return [hint]
