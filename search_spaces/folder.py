"""made_whole: creates a folder atomically, with its complete content."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from search_spaces.durable import sync, sync_tree
from search_spaces.errors import InputError


@contextmanager
def made_whole(path: Path, what: str) -> Iterator[Path]:
    """Yields a temporary folder to fill, which then becomes `path`. Raises InputError when it cannot be written.

    The temporary folder is next to `path`, under a unique name.
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
