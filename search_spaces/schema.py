"""checked: validates plain data against a frozen dataclass, whose annotations define keys, types and ranges."""

import json
from collections.abc import Hashable
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from search_spaces.errors import InputError, near_miss, quoted, shortened

T = TypeVar("T")
_ALL = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_SOME = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
strict = with_config(_ALL)
"""Class decorator for file contents: no unknown keys, no type coercion, only finite numbers."""
among_others = with_config(_SOME)
"""Like `strict`, but ignores unknown keys."""

Count = Annotated[int, Field(ge=1, le=10**9)]
Whole = Annotated[int, Field(ge=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]
FromZero = Annotated[float, Field(ge=0, le=1e9)]
AboveZero = Annotated[float, Field(gt=0, le=1e9)]
Means = Annotated[list[FromZero], Field(min_length=1, max_length=3)]
Stds = Annotated[list[AboveZero], Field(min_length=1, max_length=3)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_SAID = {  # by pydantic's kinds of error
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must map keys to values",
    "dataclass_type": "must map keys to values",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must be letters, digits, - and _, at most 40",
    "too_long": "must have {max_length} or fewer values",
    "too_short": "must have {min_length} or more values",
}


def checked(kind: type[T], data: object, source: str) -> T:
    """Validates `data` from a YAML or JSON file as `kind`; raises InputError naming `source`, place and value."""
    return checked_json(kind, json.dumps(data), source)  # in JSON, lists may stand for tuples, and mappings for dataclasses


def checked_json(kind: type[T], text: str, source: str) -> T:
    """`checked` for JSON text, nested at most 200 deep."""
    try:
        found: T = _adapter(cast(Hashable, kind)).validate_json(text)
    except ValidationError as error:
        faults = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "unexpected_keyword_argument")
        raise InputError(f"{source}: {_said(kind, faults[0])}") from None
    return found


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind), config=None if is_dataclass(kind) else _ALL)


def _said(kind: type[Any], fault: Any) -> str:
    """The message for a validation error."""
    *above, last = fault["loc"] or ("",)
    if fault["type"] == "unexpected_keyword_argument":
        return f'{_within(above)}unknown key "{last}"{near_miss(str(last), _keys(kind))}'
    if fault["type"] == "missing":
        return f'{_within(above)}the key "{last}" is missing'
    if fault["type"] == "json_invalid":
        return f"not JSON: {fault['ctx']['error']}"
    if fault["type"] == "value_error":
        error = fault["ctx"]["error"]  # other libraries' messages repeat the whole value
        return f"{_within(fault['loc'])}{error if isinstance(error, InputError) else shortened(str(error))}"
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in fault.get("ctx", {}).items()}
    words = _SAID[fault["type"]].format(**limits) if fault["type"] in _SAID else f"is wrong: {fault['msg']}"
    return f"{_place(fault['loc'])} {words}, not {quoted(fault['input'])}".lstrip()


def _within(place: Any) -> str:
    return f"{_place(place)}: " if place else ""


def _place(place: Any) -> str:
    """A path within the data, such as stages[2].depth."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _keys(kind: type[Any]) -> set[str]:
    """Every key that a file may have, at any level."""
    found = _adapter(cast(Hashable, kind)).json_schema()
    return {key for part in (found, *found.get("$defs", {}).values()) for key in part.get("properties", {})}
