"""InputError, for invalid user input: says what is wrong, where, and how to fix it."""

import difflib
import reprlib
from collections.abc import Iterable

_LONGEST = 80  # maximum length of a quoted value in messages
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = _LONGEST


class InputError(ValueError):
    """Invalid user input. The command line prints only its message and exits with code 2."""


def os_reason(error: OSError) -> str:
    """The system's reason, with the file if known: "Permission denied: runs/a/run.yaml"."""
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def quoted(value: object) -> str:
    """An invalid value for a message, truncated: text in quotes, anything else as its repr."""
    return f'"{shortened(value)}"' if isinstance(value, str) else shortened(_SHORT.repr(value))


def shortened(text: str) -> str:
    """User text, truncated, with unprintable characters escaped."""
    begin = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return begin if begin.isprintable() else repr(begin)[1:-1]


def near_miss(word: str, known: Iterable[str]) -> str:
    """A suggestion of the closest known word, or a list of the known ones: '; did you mean "kernel"?'."""
    names = sorted(known)
    close = difflib.get_close_matches(shortened(word), names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(names)}" if names else ""
