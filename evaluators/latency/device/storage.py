"""The folder for device measurements, and crash-safe JSON-lines files that several processes may append to."""

import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError

_ELSEWHERE = "set XDG_DATA_HOME=FOLDER to use another folder"


def user_folder() -> Path:
    """The folder of measured profiles: compact-nas/devices in the user's data folder; InputError without a home folder."""
    folder = known_folder()
    if folder is None:
        raise InputError(f"device profiles are kept in the home folder, and there is none (HOME is not set); {_ELSEWHERE}")
    return folder


def known_folder() -> Path | None:
    """`user_folder`, or None without a home folder."""
    try:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError:
        return None
    return base / "compact-nas" / "devices"


def writable_folder() -> Path:
    """`user_folder`, created if missing; raises InputError when it is not writable."""
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"cannot keep device profiles in {folder}: {error.strerror}; {_ELSEWHERE}") from None
    return folder


def whole_lines(path: Path) -> list[bytes]:
    """The complete lines of a file, or none if it does not exist; ignores a partial last line left by a crash."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def add_line(path: Path, entry: Any, header: Any = None) -> None:
    """Appends a JSON line durably, one process at a time; removes a partial line left by a crash first.

    If `header` is given and the file does not start with it, the file is started over with it. Raises InputError when the
    file cannot be written.
    """
    first = b"" if header is None else json.dumps(header).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known = file.read()
            whole = known[: known.rfind(b"\n") + 1]
            goes_on = whole.startswith(first) and whole
            file.truncate(len(whole) if goes_on else 0)
            file.write((b"" if goes_on else first) + json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"cannot write latencies to {path}: {error.strerror or error}; {_ELSEWHERE}") from None
