"""Where what was measured on a device is kept, and files of lines that lose none in a crash, whoever adds to them."""

import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError

_ELSEWHERE = "XDG_DATA_HOME=FOLDER names another folder"


def user_folder() -> Path:
    """Where measured profiles are kept: compact-nas/devices in the user's data folder; InputError where there is no home."""
    folder = known_folder()
    if folder is None:
        raise InputError(f"device profiles are kept in the home folder, and there is none (HOME is not set); {_ELSEWHERE}")
    return folder


def known_folder() -> Path | None:
    """`user_folder`, or None where there is no home: nothing is kept there then."""
    try:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError:
        return None
    return base / "compact-nas" / "devices"


def writable_folder() -> Path:
    """`user_folder`, made where it is not there; raises InputError where nothing can be written there."""
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"cannot keep device profiles in {folder}: {error.strerror}; {_ELSEWHERE}") from None
    return folder


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file, none where there is no file; what a crash left of the last one is no line."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def add_line(path: Path, entry: Any, header: Any = None) -> None:
    """Adds a JSON line for good, one process at a time; what a crash left of a line is taken away first.

    A file that does not begin with the line `header`, where one is asked for, is begun anew with it. Raises InputError when
    the file cannot be written.
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
        raise InputError(f"cannot keep what was timed in {path}: {error.strerror or error}; {_ELSEWHERE}") from None
