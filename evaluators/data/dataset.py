"""What a data set is, and how one is found by name, split and brought to one size.

A new data set is one new file in this folder: a function under `@register("name")` whose docstring's first line is its
summary. Files that start with an underscore are helpers. Nothing heavy is imported until pictures are read.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from search_spaces.errors import InputError, near_miss

if TYPE_CHECKING:
    import numpy as np

    from evaluators.data._files import Files

SMALLEST = 8
Progress = Callable[[int, int], None]
Triple = tuple[float, float, float]


class UnreadablePicture(InputError):
    """A file cannot be read as a picture; the message names it."""


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures of one size with their classes: images uint8 [N, 3, S, S], contiguous, or in files; labels int64 [N]."""

    images: np.ndarray | Files
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits of S x S pictures; `size` is S, label i means `classes[i]`, `source` is for reports.

    Pictures that are streamed from their files have `sampled`, the mean and standard deviation of a sample.
    """

    name: str
    size: int
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: str
    sampled: tuple[Triple, Triple] | None = None

    def mean_std(self) -> tuple[Triple, Triple]:
        """Mean and standard deviation of each channel of the training pixels, scaled to 0..1."""
        from evaluators.data._pictures import mean_std

        return self.sampled or mean_std(cast("np.ndarray", self.train.images))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures as they were found: an array uint8 [N, H, W] or [N, H, W, 3], or files; labels int64 [N]."""

    items: np.ndarray | list[Path]
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """What a data set's reader returns: the splits before they are brought to one size."""

    classes: tuple[str, ...]
    train: Pictures
    validation: Pictures
    test: Pictures
    source: str


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


def load(
    spec: str,
    *,
    size: int | None = None,
    largest: int = 224,
    download: bool = False,
    progress: Progress | None = None,
    stream: bool | None = None,
) -> Dataset:
    """The data set that `spec`, NAME or NAME:PATH, names, with all pictures `size` x `size`.

    Without `size` it is the pictures' own short side (its median over a sample of files), at most `largest`. Pictures
    are scaled by their short side, antialiased bilinear, and cropped at the centre; grey ones get three equal channels.
    `download` permits fetching a public data set that is not there yet. `progress` is called with (pictures done,
    pictures in all). Pictures in files that would take more than half of the available memory are streamed: read and
    decoded anew whenever they are shown; `stream` decides it otherwise. Raises InputError for anything a person can put
    right.
    """
    from evaluators.data._pictures import check_memory, fits_memory, own_size, render

    name, _, path = spec.partition(":")
    reader = _reader(name)
    _check_size(size, largest)
    found = reader(Path(path).expanduser() if path else None, download)
    side = min(own_size(found.train.items), largest) if size is None else size
    if side < SMALLEST:
        raise InputError(f"the pictures of {spec} are {side} pixels wide or high; at least {SMALLEST} are needed")
    parts = (found.train, found.validation, found.test)
    total = sum(len(part.labels) for part in parts)
    if isinstance(found.train.items, list) and (not fits_memory(total, side) if stream is None else stream):
        return _streamed(name, found, side, progress or (lambda done, total: None))
    check_memory(total, side)
    splits, done = [], 0
    for part in parts:
        splits.append(Split(render(part.items, side, _from(progress, done, total)), part.labels))
        done += len(part.labels)
    train, validation, test = splits
    return Dataset(name, side, found.classes, train, validation, test, found.source)


def _streamed(name: str, found: Found, side: int, progress: Progress) -> Dataset:
    from evaluators.data._files import Files
    from evaluators.data._pictures import gib, needed_bytes

    parts = (found.train, found.validation, found.test)
    files = [Files.of(cast("list[Path]", part.items), side) for part in parts]
    train, validation, test = (Split(f, part.labels) for f, part in zip(files, parts, strict=True))
    memory = gib(needed_bytes(sum(map(len, files)), side))
    source = f"{found.source}; they would take {memory} of memory, and are read from their files whenever they are shown"
    return Dataset(name, side, found.classes, train, validation, test, source, files[0].sampled_mean_std(progress))


def default_folder() -> Path:
    """Where public data sets are looked for and downloaded to when no PATH is given."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "compact-nas" / "datasets"


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


def _check_size(size: int | None, largest: int) -> None:
    if size is not None and not SMALLEST <= size <= largest:
        raise InputError(f"pictures of {size} x {size} pixels are out of range; --train-size is {SMALLEST} to {largest}")


def _from(progress: Progress | None, done: int, total: int) -> Callable[[int], None]:
    """Reports the pictures of one split to `progress`, counted after the `done` ones of the splits before."""
    return (lambda count: None) if progress is None else (lambda count: progress(done + count, total))
