"""The error that is written for the person who typed the input: what is wrong, where, and what would be right."""

import difflib
import reprlib
from collections.abc import Iterable

_LONGEST = 80  # letters of a value that a message quotes
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = _LONGEST


class InputError(ValueError):
    """Wrong input from a person. The command line prints its text alone and exits with code 2."""


def os_reason(error: OSError) -> str:
    """What the system refused, and of which file where it says so: "Permission denied: runs/a/run.yaml"."""
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def quoted(value: object) -> str:
    """A wrong value as messages show it, cut short: text in quotes, anything else as Python writes it."""
    return f'"{shortened(value)}"' if isinstance(value, str) else shortened(_SHORT.repr(value))


def shortened(text: str) -> str:
    """The beginning of a long text of the user's; letters that do not show are written as Python writes them."""
    begin = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return begin if begin.isprintable() else repr(begin)[1:-1]


def near_miss(word: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known word, or lists the known ones: '; did you mean "kernel"?'."""
    names = sorted(known)
    close = difflib.get_close_matches(shortened(word), names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(names)}" if names else ""
