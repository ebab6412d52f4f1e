"""Lock: one process at a time writes a folder."""

import fcntl
import os
from pathlib import Path

from search_spaces.errors import InputError

LOCK = ".lock"


class Lock:
    """Keeps two processes from writing one folder; gone with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise InputError(f"cannot write in {path}: {error.strerror}; `nas status {path}` reads it all the same") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"another process is working on {path}; `nas status {path}` shows it") from None

    def release(self) -> None:
        os.close(self._file)


def is_running(path: Path) -> bool:
    """Whether a process holds the folder's lock; nothing is written to find that out."""
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
