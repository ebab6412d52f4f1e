"""Looks up data sets by name, and the folder for public ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from evaluators.data.dataset import Found
from search_spaces.errors import InputError
from search_spaces.plugins import Modules

Reader = Callable[[Path | None, bool], Found]
_SETS = Modules("datasets", "evaluators.data.sets", "data set", hyphens=True)


def names() -> list[str]:
    """The names of the data sets, sorted."""
    return _SETS.names()


def summaries() -> dict[str, str]:
    """A one-line summary of each data set by name."""
    return {name: (reader(name).__doc__ or "").strip().partition("\n")[0] for name in names()}


def reader(name: str) -> Reader:
    """The reader of the data set called `name`, `(path, download) -> Found`; raises InputError that suggests a close name."""
    if name not in names() and (os.sep in name or Path(name).is_dir()):
        raise InputError(f'there is no data set "{name}"; for a folder of photos, use imagefolder:PATH')
    return cast(Reader, _SETS.load(name).read)


def default_folder() -> Path:
    """The folder for public data sets when no PATH is given; raises InputError without a home folder."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        hint = "set XDG_CACHE_HOME=FOLDER to use another folder"
        raise InputError(f"public data sets are kept in the home folder, and there is none (HOME is not set); {hint}") from None
    return base / "compact-nas" / "datasets"
