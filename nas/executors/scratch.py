"""A folder for what lives no longer than its process: gone when that ends, or after a kill when the next one starts."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from search_spaces.errors import InputError

_PREFIX, _LOCK = "nas-ray-", ".lock"
_PATH = 103 if sys.platform == "darwin" else 107  # bytes that the path of a socket may have
_BELOW = len("/nas-ray-abcdefgh/session_2026-11-29_00-21-22_098592_4194304/sockets/plasma_store")  # the longest of Ray's


class Scratch:
    """A new folder with a path so short that Ray's sockets can be below it; those of processes that are dead are removed.

    Raises InputError where no such folder can be made.
    """

    def __init__(self) -> None:
        for left in _abandoned():
            shutil.rmtree(left, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place()))
        self._lock = _locked(self.path, os.O_CREAT)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # a process that ends just now may still write its log
        os.close(self._lock)


def _places() -> list[Path]:
    return list(dict.fromkeys(map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"))))


def _place() -> Path:
    longest = _PATH - _BELOW
    for place in _places():
        if len(os.fsencode(place)) <= longest and os.access(place, os.W_OK | os.X_OK):
            return place
    raise InputError(
        f"Ray's sockets need a folder that can be written and whose path is {longest} characters long at most; "
        f"{tempfile.gettempdir()} is longer and /tmp cannot be written: set TMPDIR to another folder"
    )


def _abandoned() -> Iterator[Path]:
    """Folders of this user whose process is dead: nobody holds their lock."""
    for folder in (found for place in _places() for found in place.glob(f"{_PREFIX}*")):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = _locked(folder)
        except OSError:  # another process removes it just now, or works there
            continue
        yield folder
        os.close(lock)


def _locked(folder: Path, flags: int = 0) -> int:
    """A descriptor that holds the folder's lock until it is closed, by its process's death too; raises OSError."""
    lock = os.open(folder / _LOCK, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
