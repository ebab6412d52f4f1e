"""Converts records to and from the journal's JSON.

The journal's checksums detect corruption; this module validates the schema. Unknown keys and unknown kinds are ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from nas.records import FORMERLY, KINDS, Asked, Note, Record, Share
from search_spaces.errors import InputError
from search_spaces.schema import checked

N = TypeVar("N", bound=Note)


def as_json(record: Record) -> dict[str, Any]:
    """Fields as JSON; those with their default value are left out."""
    changed = [field.name for field in fields(record) if getattr(record, field.name) != field.default]
    known = asdict(record)
    found: dict[str, Any] = json.loads(json.dumps({name: known[name] for name in changed}))  # tuples become lists
    return found


class Notes:
    """Parses each note of a journal once."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[object, Note]] = {}

    def of(self, kind: type[N], facts: Mapping[str, object]) -> dict[str, N]:
        """Notes of a kind among `facts`, by ID, in the order in which they were first written."""
        names = {kind.KIND, FORMERLY.get(kind.KIND)}
        found = {key: fact for key, fact in facts.items() if key.partition(":")[0] in names}
        return {key.partition(":")[2]: self._note(kind, key, fact) for key, fact in found.items()}

    def _note(self, kind: type[N], key: str, fact: object) -> N:
        known, note = self._read.get(key, (None, None))
        if known is not fact or not isinstance(note, kind):
            note = _note(kind, key, fact)
            self._read[key] = fact, note
        return note


def check_note(key: str, value: object) -> None:
    """Raise InputError unless a note `kind:ID` matches its kind's schema."""
    kind = KINDS.get(key.partition(":")[0])
    if kind:
        _note(kind, key, value)


def check_trial(number: int, attributes: Mapping[str, Any], accuracies: Mapping[int, float]) -> None:
    """Raise InputError unless a trial has all attributes of a complete one."""
    where = f"trial {number}"
    checked(Asked, attributes, where)
    checked(dict[int, Share], accuracies, f"{where}, accuracies")
    if attributes["outcome"] in ("trained", "stopped") and not any(accuracies):
        raise InputError(f"{where}: it was trained, but has no accuracy")


def _note(kind: type[N], key: str, value: object) -> N:
    return checked(kind, value, f"note {key}")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
