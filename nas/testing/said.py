"""Turns exceptions of an extension into AssertionErrors with context."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def said(what: str) -> Iterator[None]:
    """Context that turns any exception into an AssertionError with `what` and the reason."""
    try:
        yield
    except Exception as error:
        reason = f"{error}".partition("\n")[0]
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{what}: {kind}{reason}") from error
