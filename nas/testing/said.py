"""Turns what goes wrong in an addition into a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def said(what: str) -> Iterator[None]:
    """Raises AssertionError, `what` and the reason, for whatever is raised inside."""
    try:
        yield
    except Exception as error:
        reason = f"{error}".partition("\n")[0]
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{what}: {kind}{reason}") from error
