"""The error that is written for the person who typed the input: what is wrong, where, and what would be right."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Wrong input from a person. The command line prints its text alone and exits with code 2."""


def near_miss(word: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known word, or lists the known ones: '; did you mean "kernel"?'."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(names)}" if names else ""
