"""Lock: one process at a time writes to a folder."""

import fcntl
import os
from pathlib import Path

from search_spaces.errors import InputError

LOCK = ".lock"


class Lock:
    """Exclusive lock on a folder; released when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise InputError(f"cannot write to {path}: {error.strerror}; `nas status {path}` can still read it") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"another process is working on {path}; see `nas status {path}`") from None

    def release(self) -> None:
        os.close(self._file)


def is_running(path: Path) -> bool:
    """Whether a process holds the folder's lock; writes nothing."""
    try:
        file = os.open(path / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
