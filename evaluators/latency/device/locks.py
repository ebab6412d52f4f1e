"""Locks: one process at a time writes a file, one process per machine measures at a time."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import InputError

WAITING = "Another process is measuring on this machine; waiting until it is done."


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for and holds the lock on the file `path`; the system releases it when the process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def measuring(waiting: Callable[[], None]) -> Iterator[None]:
    """Lets one process of this machine measure at a time, across users; calls `waiting` before it waits for another."""
    file = _open_for_all(Path(tempfile.gettempdir()) / "compact-nas-measuring.lock")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _open_for_all(path: Path) -> int:
    """Opens a file that every user can lock, read-only: locking needs no write permission. Raises InputError."""
    try:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            os.fchmod(file, 0o644)  # regardless of umask
            return file
    except OSError as error:
        hint = "set TMPDIR to another folder for temporary files"
        raise InputError(f"cannot open the measuring lock {path}: {error.strerror}; {hint}") from None
