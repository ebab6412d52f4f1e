"""Converts records to and from the journal's JSON.

The journal's checksums detect corruption; this module validates the schema. Unknown keys and unknown kinds are ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

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
    """Notes of a journal by kind; each is parsed once, when its kind is asked for."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self._facts: dict[str, dict[str, object]] = {}
        self._read: dict[str, dict[str, Note]] = {}
        for key, fact in facts.items():
            self.take(key, fact)

    def take(self, key: str, fact: object) -> None:
        """Enter a note KIND:ID, or replace it."""
        kind = key.partition(":")[0]
        self._facts.setdefault(kind, {})[key] = fact
        self._read.get(kind, {}).pop(key, None)

    def of(self, kind: type[N]) -> dict[str, N]:
        """Notes of a kind by ID, in the order in which they were first written."""
        former = FORMERLY.get(kind.KIND)
        return {**(self._of(kind, former) if former else {}), **self._of(kind, kind.KIND)}

    def _of(self, kind: type[N], name: str) -> dict[str, N]:
        read = self._read.setdefault(name, {})
        for key, fact in self._facts.get(name, {}).items():
            if key not in read:
                read[key] = _note(kind, key, fact)
        return {key.partition(":")[2]: cast(N, read[key]) for key in self._facts.get(name, {})}


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
