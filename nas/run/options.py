"""Option: help and units of a configuration field, from which flags and tables are generated."""

import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Option:
    """Annotation of a configuration field: `trials: Annotated[Count, Option("...")] = 8`.

    `flag`: command-line name without dashes, if it differs from the field's.
    `unit`: ms, s or bytes, the suffix of the field's name; values on the command line carry a unit.
    `unset`: text for the default None.
    `commas`: a tuple is one comma-separated value; otherwise the flag is repeatable.
    """

    help: str
    flag: str = ""
    unit: str = ""
    metavar: str = ""
    unset: str = ""
    commas: bool = False


@dataclass(frozen=True)
class Described:
    """A field with its option and what its annotation implies: plain type, choices of a Literal, numeric bounds."""

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
    """Options of a configuration dataclass, in order; fields without an Option are skipped."""
    hints = get_type_hints(configuration, include_extras=True)
    found = []
    for field in fields(configuration):
        parts = _flat(hints[field.name])
        option = next((part for part in parts if isinstance(part, Option)), None)
        if option:
            found.append(_described(field, option, parts))
    return found


def reference(configuration: type) -> str:
    """Markdown table of a configuration's options: flag, field, values, default, help."""
    lines = ["| option | field | value | default | |", "|---|---|---|---|---|"]
    for one in described(configuration):
        cells = (f"`{one.flag}`", f"`{one.name}`", values_text(one), default_text(one), one.option.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def values_text(one: Described) -> str:
    """Allowed values as text."""
    if one.kind is bool:
        return "yes or no"
    if one.choices:
        return ", ".join(map(str, one.choices))
    if one.option.unit:
        examples = {"ms": "a latency, such as 20ms", "s": "a duration, such as 15m", "bytes": "a size, such as 500KB"}
        return examples[one.option.unit]
    limits = [f"{word} {limit:g}" for word, limit in ((">=", one.low), (">", one.above), ("<", one.below)) if limit is not None]
    kind = {int: "integer", float: "number"}.get(one.kind, "text")
    return " ".join([kind, *limits]) + (", repeatable" if one.several and not one.option.commas else "")


def default_text(one: Described) -> str:
    """The default as text."""
    return "required" if one.required else value_text(one, one.default)


def value_text(one: Described, value: Any) -> str:
    """A value as text, with its unit."""
    if value is None or value == ():
        return one.option.unset or "none"
    if one.kind is bool:
        return "yes" if value else "no"
    if one.option.unit == "bytes":
        return f"{value:.0f}B"
    if one.option.unit:
        return f"{value:g}{one.option.unit}"
    return ",".join(value) if one.several else f"{value}"


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
    """All parts of a type hint: unpacks Annotated, unions and tuples."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *others = get_args(hint)
        return [*_flat(inner), *others]
    if origin in (Union, types.UnionType):
        return [part for one in get_args(hint) for part in _flat(one)]
    if origin is tuple:
        return [hint, *_flat(get_args(hint)[0])]
    return [hint]
