"""made_whole: a folder that is there with all that belongs in it, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from search_spaces.durable import sync, sync_tree
from search_spaces.errors import InputError


@contextmanager
def made_whole(path: Path, what: str) -> Iterator[Path]:
    """A folder to be filled, which then becomes `path`: whole, or not there. Raises InputError when it cannot be written.

    It is filled beside `path`, under a name that nothing had before.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".nas-", dir=path.parent) as beside:
            part = Path(beside, "part")
            part.mkdir()
            yield part
            sync_tree(part)
            if path.exists():
                path.rmdir()
            part.rename(path)
        sync(path.parent)
    except OSError as error:
        raise InputError(f"cannot make the {what} {path}: {error.strerror or error}") from None
