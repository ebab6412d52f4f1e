"""Resizes images from arrays or files to one or several sizes; computes mean and standard deviation of pixels."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from evaluators.data._open import opened
from evaluators.data._unreadable import UnreadableImage
from evaluators.data.preprocess import Fitting, Moments

T = TypeVar("T")
BATCH = 256
# Lower bound on a channel's std. A constant channel normalises to 0, and what colour augmentation adds stays small. With 1/255
# as the bound, that grows to 255, and nothing is learnt (loss 1.05 after 3 epochs, against .90 with .05 and .88 with .1).
LEAST_STD = 0.05
Items = np.ndarray | list[Path]
Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Rendered:
    """Images at several sizes (height, width), an array uint8 [N, C, H, W] for each; see `render`."""

    arrays: dict[Size, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, chosen: slice | np.ndarray) -> "Rendered":
        return Rendered({size: array[chosen] for size, array in self.arrays.items()})

    @property
    def nbytes(self) -> int:
        """Memory used, in bytes."""
        return sum(array.nbytes for array in self.arrays.values())

    def at(self, fitting: Fitting) -> np.ndarray:
        """The images for one of the fittings that they were rendered with."""
        return self.arrays[fitting.input[1:]]


def render(items: Items, fittings: Sequence[Fitting], coarse: bool, progress: Callable[[int], None]) -> Rendered:
    """The images at each fitting, decoded once and resized from the original.

    Arrays uint8 [N, H, W] or [N, H, W, 3] or files become arrays uint8 [N, C, H, W], channels last in memory. `coarse`
    decodes large JPEGs at a fraction of their size, at least twice the largest input. `progress` gets the number of images
    done. Raises UnreadableImage naming all unreadable files.
    """
    arrays = {f.input[1:]: empty(len(items), f) for f in fittings}

    def pixels(item: np.ndarray | Path) -> list[np.ndarray] | UnreadableImage:
        try:
            image = Image.fromarray(item) if isinstance(item, np.ndarray) else _opened(item, fittings, coarse)
        except UnreadableImage as error:
            return error
        return [fitting.pixels(image) for fitting in fittings]

    unreadable: dict[str, str] = {}
    for i, found in enumerate(in_threads(pixels, items)):
        if isinstance(found, UnreadableImage):
            unreadable |= found.reasons
        else:
            for array, image in zip(arrays.values(), found, strict=True):
                array[i] = image.transpose(2, 0, 1)
        progress(i + 1)
    if unreadable:
        raise UnreadableImage(unreadable)
    return Rendered(arrays)


def in_threads(work: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
    """The results of `work` in the order of `items`; in threads, unless `items` is an array."""
    if isinstance(items, np.ndarray):
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def read_image(file: Path, fitting: Fitting, coarse: bool) -> np.ndarray:
    """The image in a file as `render` gives it, uint8 [C, H, W]; raises UnreadableImage naming it."""
    return fitting.pixels(_opened(file, [fitting], coarse)).transpose(2, 0, 1)


def empty(count: int, fitting: Fitting) -> np.ndarray:
    """An empty array for `count` images, uint8 [N, C, H, W] with channels last in memory."""
    channels, height, width = fitting.input
    return np.empty((count, height, width, channels), np.uint8).transpose(0, 3, 1, 2)


def as_they_are(pixels: np.ndarray, channels: int) -> np.ndarray:
    """uint8 [N, H, W] or [N, H, W, 3] as [N, C, H, W] without copying, unless RGB is converted for a grey input.

    Grey images keep one channel, even for an RGB input.
    """
    if pixels.ndim == 4 and channels == 1:
        pixels = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels])
    return (pixels if pixels.ndim == 4 else pixels[..., None]).transpose(0, 3, 1, 2)


def mean_std(images: np.ndarray) -> Moments:
    """Mean and standard deviation per channel of uint8 [N, C, H, W], in units of 255; exact, from histograms.

    The standard deviation is at least LEAST_STD.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), BATCH):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + BATCH, channel].ravel(), minlength=256)
    levels, shares = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    means = shares @ levels
    stds = np.sqrt((shares * (levels - means[:, None]) ** 2).sum(axis=1))
    return tuple(map(float, means)), tuple(map(float, np.maximum(stds, LEAST_STD)))


def _opened(file: Path, fittings: Sequence[Fitting], coarse: bool) -> Image.Image:
    least = 2 * max(max(fitting.input[1:]) for fitting in fittings) if coarse else None
    return opened(file, fittings[0].depth, least)
