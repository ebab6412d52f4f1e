"""The border between records and the journal's JSON.

A checksum says that a record is as it was written; here is checked that what was written can be understood. Keys that a kind
does not have, and kinds that nas.records does not name, are passed over.
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
    """Its fields as the journal has them; those that have their default are left out."""
    told = [field.name for field in fields(record) if getattr(record, field.name) != field.default]
    known = asdict(record)
    found: dict[str, Any] = json.loads(json.dumps({name: known[name] for name in told}))  # with lists for tuples
    return found


class Notes:
    """Reads each note of a journal once, however often it is asked for."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[object, Note]] = {}

    def of(self, kind: type[N], facts: Mapping[str, object]) -> dict[str, N]:
        """Those of a kind among all `facts` that are kept, by ID, in the order in which they were first kept."""
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
    """Raises InputError unless a note `kind:ID` is of its kind's shape."""
    kind = KINDS.get(key.partition(":")[0])
    if kind:
        _note(kind, key, value)


def check_trial(number: int, attributes: Mapping[str, Any], accuracies: Mapping[int, float]) -> None:
    """Raises InputError unless a trial that was written whole has all that belongs to it."""
    where = f"trial {number}"
    checked(Asked, attributes, where)
    checked(dict[int, Share], accuracies, f"{where}, accuracies")
    if attributes["outcome"] in ("trained", "stopped") and not any(accuracies):
        raise InputError(f"{where}: it was trained, and no accuracy is kept")


def _note(kind: type[N], key: str, value: object) -> N:
    return checked(kind, value, f"note {key}")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
