"""The data sets there are: one file each in this folder, found by name."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path

from evaluators.data.dataset import Found
from search_spaces.errors import InputError, near_miss

Reader = Callable[[Path | None, bool], Found]
_READERS: dict[str, Reader] = {}


def register(name: str) -> Callable[[Reader], Reader]:
    """Decorator for a reader `(path, download) -> Found`: makes it the data set called `name`."""

    def add(reader: Reader) -> Reader:
        _READERS[name] = reader
        return reader

    return add


def names() -> list[str]:
    """The names of the registered data sets, sorted."""
    return sorted(_readers())


def summaries() -> dict[str, str]:
    """One line about each registered data set, by name."""
    return {name: (reader.__doc__ or "").strip().partition("\n")[0] for name, reader in sorted(_readers().items())}


def default_folder() -> Path:
    """Where public data sets are looked for and downloaded to when no PATH is given; InputError where there is no home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        hint = "XDG_CACHE_HOME=FOLDER names another folder"
        raise InputError(f"public data sets are kept in the home folder, and there is none (HOME is not set); {hint}") from None
    return base / "compact-nas" / "datasets"


def _readers() -> dict[str, Reader]:
    package = importlib.import_module("evaluators.data")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"evaluators.data.{module.name}")
    return _READERS


def _reader(name: str) -> Reader:
    readers = _readers()
    if name not in readers:
        hint = "; a folder of photos is imagefolder:PATH" if os.sep in name or Path(name).is_dir() else ""
        raise InputError(f'there is no data set "{name}"{hint or near_miss(name, readers)}')
    return readers[name]
