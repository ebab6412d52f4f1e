"""What a data set is, and how one is found by name, split and made ready for the inputs of networks.

A new data set is one new file in this folder: a function under `@register("name")` whose docstring's first line is its
summary. Files that start with an underscore are helpers. Nothing heavy is imported until images are read.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evaluators.data.preprocess import Fit, Fitting, Interpolation, Preprocessing, per_channel
from search_spaces.errors import InputError, near_miss
from search_spaces.resources import expanded

if TYPE_CHECKING:
    import numpy as np

    from evaluators.data._files import Files
    from evaluators.data._render import Rendered

SMALLEST = 8
ASPECTS = 1.05  # by how much the inputs' aspects may differ: training images are held at one of them
Input = tuple[int, int, int]
Progress = Callable[[int, int], None]
Moments = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel of pixels in 0..1


class UnreadableImage(InputError):
    """Files cannot be read as images: `reasons` by the file; the message names them all."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = dict(reasons)

    def __str__(self) -> str:
        listed = [f"{shown(file)}: {shown(reason)}" for file, reason in self.reasons.items()]
        if len(listed) == 1:
            return f"cannot read the image {listed[0]}; replace or remove it"
        return "\n  ".join([f"cannot read {len(listed):,} images; replace or remove them:", *listed])


def shown(name: str | Path) -> str:
    """A name in one line that any terminal can print: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their classes: uint8 [N, C, H, W] at one size or at each input, or in files; labels int64 [N].

    What is held at another size than a network's input is scaled batch by batch (evaluators.training.batches).
    """

    images: np.ndarray | Rendered | Files
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits for networks with one of `inputs`; label i means `classes[i]`, `source` is for reports.

    `fit`, `interpolation` and `depth` say how images are brought to an input. `moments` are the mean and standard deviation of
    the training pixels, of a sample where they are streamed; they are computed where none are given. `fingerprint` tells this
    data set from others, in plain types (evaluators.data._fingerprint); one that was not loaded has none.
    """

    name: str
    inputs: tuple[Input, ...]
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: str
    fit: Fit = "crop"
    interpolation: Interpolation = "bilinear"
    moments: Moments | None = None
    fingerprint: dict[str, Any] = field(default_factory=dict)
    depth: int = 16

    def mean_std(self) -> Moments:
        """Mean and standard deviation of each channel of the training pixels, scaled to 0..1; the latter at least LEAST_STD."""
        from evaluators.data._render import mean_std

        mean, std = self.moments or mean_std(cast("np.ndarray", self.train.images))
        channels = self.inputs[0][0]
        return per_channel(mean, channels), per_channel(std, channels)

    def preprocessing(self, input: Input, mean: Sequence[float], std: Sequence[float]) -> Preprocessing:
        """How images become the input of a network; a `mean` and `std` of three channels are averaged for a grey input."""
        channels = input[0]
        mean, std = per_channel(mean, channels), per_channel(std, channels)
        return Preprocessing(input, self.fit, self.interpolation, mean, std, depth=self.depth)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images as they were found: an array uint8 [N, H, W] or [N, H, W, 3], or files; labels int64 [N]."""

    items: np.ndarray | list[Path]
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """What a data set's reader returns: the splits as they were found; `left_out` counts by kind the files that are none's."""

    classes: tuple[str, ...]
    train: Pictures
    validation: Pictures
    test: Pictures
    source: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder that all files lie in; "" for arrays."""
        parts = (self.train, self.validation, self.test)
        parents = {os.path.dirname(file) for part in parts if isinstance(part.items, list) for file in part.items}
        return os.path.commonpath(parents or {""})


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
    inputs: Sequence[Input],
    fit: Fit = "crop",
    interpolation: Interpolation = "bilinear",
    download: bool = False,
    progress: Progress | None = None,
    stream: bool | None = None,
) -> Dataset:
    """The data set that `spec`, NAME or NAME:PATH, names, for networks with one of `inputs` (channels, height, width).

    `fit` and `interpolation` say how images are brought to an input (evaluators.data.preprocess). Arrays that are no larger
    than the largest input are kept as they are. Of all other images those for training are held once, at the largest input,
    those for validation and test at each, in one step from the original. `download` permits fetching a public data set that
    is not there yet. `progress` is called with (images done, images in all). Images in files that would take more than half
    of the available memory are streamed: read and decoded anew whenever they are shown; `stream` decides it otherwise.
    Raises InputError for anything a person can put right.
    """
    name, _, path = spec.partition(":")
    reader, inputs = _reader(name), tuple(dict.fromkeys(inputs))
    largest = _largest(inputs)
    try:
        found = reader(expanded(path) if path else None, download)
        return _made_ready(name, found, inputs, largest, fit, interpolation, progress or (lambda done, total: None), stream)
    except OSError as error:
        where = f" {shown(error.filename)}" if error.filename else ""
        raise InputError(f"cannot read the data set{where}: {error.strerror or error}") from error


def _made_ready(
    name: str,
    found: Found,
    inputs: tuple[Input, ...],
    largest: Input,
    fit: Fit,
    interpolation: Interpolation,
    progress: Progress,
    stream: bool | None,
) -> Dataset:
    from evaluators.data._facts import facts
    from evaluators.data._fingerprint import fingerprint
    from evaluators.data._ready import ready
    from evaluators.data._words import told

    known = facts(found)
    fittings = {i: Fitting(i, fit, interpolation, depth=known.depth) for i in inputs}
    splits, moments, remarks = ready(found, list(fittings.values()), fittings[largest], progress, stream)
    source = "; ".join([*told(found, known, fittings[largest], moments), *remarks])
    train, validation, test = splits
    return Dataset(
        name=name,
        inputs=inputs,
        classes=found.classes,
        train=train,
        validation=validation,
        test=test,
        source=source,
        fit=fit,
        interpolation=interpolation,
        moments=moments,
        fingerprint=fingerprint(found),
        depth=known.depth,
    )


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


def _largest(inputs: Sequence[Input]) -> Input:
    """The input with the most pixels; raises InputError unless one data set can serve them all."""
    for given in inputs:
        if min(given[1:]) < SMALLEST or given[0] not in (1, 3):
            raise InputError(f"input {_text(given)}: 1 or 3 channels, and at least {SMALLEST} pixels high and wide are needed")
    wide, tall = (choose(inputs, key=lambda i: i[2] / i[1]) for choose in (max, min))
    if len({channels for channels, _, _ in inputs}) > 1:
        raise InputError(f"inputs {', '.join(map(_text, inputs))}: all must have the same number of channels")
    if wide[2] * tall[1] > ASPECTS * tall[2] * wide[1]:
        raise InputError(f"inputs {_text(wide)} and {_text(tall)}: all must have the same shape, within 5 % of width / height")
    return max(inputs, key=lambda i: i[1] * i[2])


def _text(given: Input) -> str:
    return "x".join(map(str, given))
