"""Locks: one process writes a file at a time, one process of a machine measures at a time."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import InputError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock that the file `path` stands for, and holds it; a process that ends lets go of it, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def measuring(waiting: Callable[[], None]) -> Iterator[None]:
    """Lets one process of this machine measure at a time, whosever it is; calls `waiting` before it waits for another."""
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
    """A file that every user can lock: a lock asks for no right to write. Raises InputError when it cannot be opened."""
    try:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            os.fchmod(file, 0o644)  # whatever the mask of new files is
            return file
    except OSError as error:
        hint = "TMPDIR names another folder for temporary files"
        raise InputError(f"cannot tell whether another process measures, by {path}: {error.strerror}; {hint}") from None
