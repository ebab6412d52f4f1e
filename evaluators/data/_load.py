"""Loads a data set by name, split and prepared for the networks' inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evaluators.data._registry import reader
from evaluators.data._unreadable import shown
from evaluators.data.dataset import Dataset, Found, Input, Progress
from evaluators.data.preprocess import Fit, Fitting, Interpolation
from search_spaces.errors import InputError
from search_spaces.resources import expanded

SMALLEST = 8
ASPECTS = 1.05  # allowed ratio of the inputs' aspect ratios: training images are held at one input only


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
    """The data set `spec`, NAME or NAME:PATH, for networks with one of `inputs` (channels, height, width).

    `fit` and `interpolation` say how images are resized (evaluators.data.preprocess). Arrays no larger than the largest input
    are kept unchanged. Other training images are held once, at the largest input; validation and test images at each input,
    resized from the original. `download` permits downloading a public data set. `progress` is called with (images done,
    images in total). Image files that would take more than half of the available memory are streamed, that is, decoded on
    each use; `stream` overrides this. Raises InputError for anything the user can fix.
    """
    name, _, path = spec.partition(":")
    read, inputs = reader(name), tuple(dict.fromkeys(inputs))
    largest = Fitting(_largest(inputs), fit, interpolation)
    try:
        found = read(expanded(path) if path else None, download)
        return _made_ready(name, found, inputs, largest, progress=progress or (lambda done, total: None), stream=stream)
    except OSError as error:
        where = f" {shown(error.filename)}" if error.filename else ""
        raise InputError(f"cannot read the data set{where}: {error.strerror or error}") from error


def _made_ready(
    name: str,
    found: Found,
    inputs: tuple[Input, ...],
    largest: Fitting,
    *,
    progress: Progress,
    stream: bool | None,
) -> Dataset:
    """Prepares a data set for `inputs`; `largest` is the fitting for the input with the most pixels."""
    from evaluators.data._facts import facts
    from evaluators.data._fingerprint import fingerprint
    from evaluators.data._ready import ready
    from evaluators.data._words import described

    known = facts(found)
    largest = replace(largest, depth=known.depth)
    splits, moments, remarks = ready(found, [replace(largest, input=i) for i in inputs], largest, progress, stream)
    source = "; ".join([*described(found, known, largest, moments), *remarks])
    train, validation, test = splits
    return Dataset(
        name=name,
        inputs=inputs,
        classes=found.classes,
        train=train,
        validation=validation,
        test=test,
        source=source,
        fit=largest.fit,
        interpolation=largest.interpolation,
        moments=moments,
        fingerprint=fingerprint(found),
        depth=known.depth,
    )


def _largest(inputs: Sequence[Input]) -> Input:
    """The input with the most pixels; raises InputError unless one data set can serve all inputs."""
    for given in inputs:
        if min(given[1:]) < SMALLEST or given[0] not in (1, 3):
            raise InputError(f"input {_text(given)}: must have 1 or 3 channels and at least {SMALLEST} pixels per side")
    wide, tall = (choose(inputs, key=lambda i: i[2] / i[1]) for choose in (max, min))
    if len({channels for channels, _, _ in inputs}) > 1:
        raise InputError(f"inputs {', '.join(map(_text, inputs))}: all must have the same number of channels")
    if wide[2] * tall[1] > ASPECTS * tall[2] * wide[1]:
        raise InputError(f"inputs {_text(wide)} and {_text(tall)}: all must have the same aspect ratio, within 5 %")
    return max(inputs, key=lambda i: i[1] * i[2])


def _text(given: Input) -> str:
    return "x".join(map(str, given))
