"""Prepares splits for the networks' inputs: keeps arrays, resizes images in memory, or streams files."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from evaluators.data._files import Files
from evaluators.data._memory import check_memory, fits_memory, gib
from evaluators.data._render import as_they_are, mean_std, render
from evaluators.data._unreadable import UnreadableImage
from evaluators.data.dataset import Found, Images, Progress, Split
from evaluators.data.preprocess import Fitting, Moments

Splits = tuple[Split, Split, Split]  # training, validation, test
Ready = tuple[Splits, Moments, list[str]]  # splits, moments of the training pixels, remarks for the report


def ready(found: Found, fittings: Sequence[Fitting], largest: Fitting, progress: Progress, stream: bool | None) -> Ready:
    """The splits for networks with the inputs of `fittings`, of which `largest` has the most pixels; see `load`."""
    parts = [found.train, found.validation, found.test]
    if isinstance(found.train.items, np.ndarray) and _within(found.train.items, largest):
        return _with_moments([_kept(part, largest) for part in parts])
    needed = _held_bytes(parts, fittings, largest)
    if isinstance(found.train.items, list) and (not fits_memory(needed) if stream is None else stream):
        return _streamed(found, parts, largest, needed, progress)
    check_memory(needed, sum(len(part.labels) for part in parts))
    return _with_moments(_held(parts, fittings, largest, progress))


def _with_moments(splits: list[Split]) -> Ready:
    train, validation, test = splits
    return (train, validation, test), mean_std(cast("np.ndarray", train.images)), []


def _within(pixels: np.ndarray, largest: Fitting) -> bool:
    _, height, width = largest.input
    return pixels.shape[1] <= height and pixels.shape[2] <= width


def _kept(part: Images, largest: Fitting) -> Split:
    return Split(as_they_are(cast("np.ndarray", part.items), largest.input[0]), part.labels)


def _held_bytes(parts: Sequence[Images], fittings: Sequence[Fitting], largest: Fitting) -> int:
    """Memory for images held at all inputs, in bytes."""
    train, *others = (len(part.labels) for part in parts)
    return train * int(np.prod(largest.input)) + sum(others) * sum(int(np.prod(fitting.input)) for fitting in fittings)


def _held(parts: Sequence[Images], fittings: Sequence[Fitting], largest: Fitting, progress: Progress) -> list[Split]:
    done, total = 0, sum(len(part.labels) for part in parts)
    splits: list[Split] = []
    unreadable: dict[str, str] = {}
    for part, ways in zip(parts, [[largest], fittings, fittings], strict=True):
        training = part is parts[0]
        try:
            images = render(part.items, ways, training, lambda count, done=done: progress(done + count, total))  # type: ignore[misc]
            splits.append(Split(images.at(largest) if training else images, part.labels))
        except UnreadableImage as error:
            unreadable |= error.reasons
        done += len(part.labels)
    if unreadable:
        raise UnreadableImage(unreadable)
    return splits


def _streamed(found: Found, parts: Sequence[Images], largest: Fitting, needed: int, progress: Progress) -> Ready:
    """Decodes every file once, as in a training epoch, so that unreadable files are reported before training starts."""
    files = [Files.of(cast("list", part.items), largest, part is found.train) for part in parts]  # type: ignore[type-arg]
    done, total = 0, sum(map(len, files))
    unreadable: dict[str, str] = {}
    for part in files:
        unreadable |= part.unreadable(lambda count, done=done: progress(done + count, total))  # type: ignore[misc]
        done += len(part)
    if unreadable:
        raise UnreadableImage(unreadable)
    train, validation, test = (Split(images, part.labels) for images, part in zip(files, parts, strict=True))
    words = f"images are streamed from their files, as they would take {gib(needed)} of memory"
    return (train, validation, test), files[0].sampled_mean_std(), [words]
