"""Durable file writes, which survive a power failure: synced to disk before anything relies on them."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file atomically and durably; raises OSError, and leaves no partial file.

    The error always names a file, even where the system does not, as for a full disk.
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
    """Syncs a file, or a folder's entries, to disk; raises OSError."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_tree(folder: Path) -> None:
    """Syncs a folder and everything in it."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)
