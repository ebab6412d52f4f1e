"""made_whole: a folder that is there with all that belongs in it, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import InputError


@contextmanager
def made_whole(path: Path, what: str) -> Iterator[Path]:
    """A folder to be filled, which then becomes `path`: whole, or not there. Raises InputError when it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if path.exists():
            path.rmdir()
        part.rename(path)
    except OSError as error:
        raise InputError(f"cannot make the {what} {path}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
