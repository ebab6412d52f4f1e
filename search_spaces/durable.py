"""Files that outlive a power cut: on the disk, and not only in the operating system's hands, before anything relies on them."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file, which takes its place at once when it is whole and on the disk; raises OSError, and leaves no part.

    The error names a file also where the system does not, as on a full disk.
    """
    part = path.with_suffix(".part")
    try:
        part.write_bytes(content)
        sync(part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
    sync(path.parent)


def sync(path: Path) -> None:
    """Has a file's content, or a folder's list of files, on the disk once it returns; raises OSError."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_tree(folder: Path) -> None:
    """`sync` for a folder and all that is in it."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
