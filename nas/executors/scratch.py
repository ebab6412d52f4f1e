"""Scratch: a temporary folder, removed when its process ends or, if it was killed, when the next one starts."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from search_spaces.errors import InputError

_PREFIX, _LOCK = "nas-ray-", ".lock"
_PATH = 103 if sys.platform == "darwin" else 107  # maximum length of a socket's path in bytes
_BELOW = len("/nas-ray-abcdefgh/session_2026-11-29_00-21-22_098592_4194304/sockets/plasma_store")  # Ray's longest socket path


class Scratch:
    """A new folder with a path short enough for Ray's sockets; also removes folders of dead processes.

    Raises InputError if there is no suitable place.
    """

    def __init__(self) -> None:
        for left in _abandoned():
            shutil.rmtree(left, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place()))
        self._lock = _locked(self.path, os.O_CREAT)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # a process that is ending may still write its log
        os.close(self._lock)


def _places() -> list[Path]:
    return list(dict.fromkeys(map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"))))


def _place() -> Path:
    longest = _PATH - _BELOW
    for place in _places():
        if len(os.fsencode(place)) <= longest and os.access(place, os.W_OK | os.X_OK):
            return place
    raise InputError(
        f"Ray's sockets need a writable folder whose path has at most {longest} characters; "
        f"{tempfile.gettempdir()} is longer and /tmp is not writable: set TMPDIR to another folder"
    )


def _abandoned() -> Iterator[Path]:
    """Folders of this user whose process is dead, i.e. whose lock is free."""
    for folder in (found for place in _places() for found in place.glob(f"{_PREFIX}*")):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = _locked(folder)
        except OSError:  # another process is removing it, or using it
            continue
        yield folder
        os.close(lock)


def _locked(folder: Path, flags: int = 0) -> int:
    """Lock the folder; returns a descriptor that holds the lock until it is closed or the process ends; raises OSError."""
    lock = os.open(folder / _LOCK, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
