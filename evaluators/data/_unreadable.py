"""The error for unreadable images, and names escaped for terminals."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from search_spaces.errors import InputError


class UnreadableImage(InputError):
    """Files that cannot be read as images: `reasons` by file; the message lists all."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = dict(reasons)

    def __str__(self) -> str:
        listed = [f"{shown(file)}: {shown(reason)}" for file, reason in self.reasons.items()]
        if len(listed) == 1:
            return f"cannot read the image {listed[0]}; replace or remove it"
        return "\n  ".join([f"cannot read {len(listed):,} images; replace or remove them:", *listed])


def absent(path: Path, is_kind: Callable[[Path], bool]) -> str:
    """What a message says of a path where nothing is, with the closest name beside it of a kind, if one is close."""
    with suppress(OSError, ValueError):
        others = sorted(p.name for p in path.parent.iterdir() if is_kind(p) and not p.name.startswith("."))
        close = difflib.get_close_matches(path.name, others, n=1)
        if close:
            return f"{shown(path)} does not exist; did you mean {shown(path.with_name(close[0]))}?"
    return f"{shown(path)} does not exist"


def shown(name: str | Path) -> str:
    """A name on one line, with unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))
