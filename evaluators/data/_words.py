"""Describes a data set in words: classes, images per set, sizes, and anything unusual."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluators.data._facts import Facts, in_several_parts
from evaluators.data._render import LEAST_STD
from evaluators.data._unreadable import shown
from evaluators.data.dataset import Found
from evaluators.data.preprocess import Fitting, Moments

_FEW = 10  # class names listed in full
_ELONGATED = 2  # times the input's aspect ratio
_UNEVEN = 3  # times the images of the smallest class
_HEIC = {".heic", ".heif", ".hif"}
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


def described(found: Found, known: Facts, fitting: Fitting, moments: Moments) -> list[str]:
    """A phrase each: source, classes, images per set, sizes, and anything unusual."""
    elongated = _elongated(known, fitting, found.folder)
    remarks = [_uneven(found), elongated, *_deep(known), _twice(found), _constant(moments)]
    left_out = f"left out: {left_out_words(found.left_out)}" if found.left_out else ""
    return [found.source, _classes(found.classes), _images(found), _sizes(known.sizes), *filter(None, [*remarks, left_out])]


def left_out_words(left_out: Mapping[str, int]) -> str:
    """The kinds of skipped files with their counts, most frequent first."""
    kinds = sorted(left_out.items(), key=lambda kind: (-kind[1], kind[0]))
    words = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    heic = sorted(_HEIC & set(left_out))
    return words + (f" (to read {heic[0]}: pip install 'compact-nas[heic]')" if heic else "")


def _classes(names: Sequence[str]) -> str:
    listed = names if len(names) <= _FEW else [*names[:4], "...", names[-1]]
    return f"{len(names):,} classes ({', '.join(listed)})"


def _images(found: Found) -> str:
    words = []
    for name, part in (("training", found.train), ("validation", found.validation), ("test", found.test)):
        counts = np.bincount(part.labels, minlength=len(found.classes))
        words.append(f"{counts.sum():,} {name} images ({_range(f'{counts.min():,}', f'{counts.max():,}')} a class)")
    return ", ".join(words)


def _uneven(found: Found) -> str:
    """A remark on classes that differ in number so much that accuracy says little."""
    counts = np.bincount(found.test.labels, minlength=len(found.classes))
    if counts.max() < _UNEVEN * counts.min():
        return ""
    name, share = found.classes[int(counts.argmax())], counts.max() / counts.sum()
    return (
        f"uneven classes: {shown(name)} for every test image would be right on {share:.1%} (see --metric balanced_accuracy and "
        "--class-weights)"
    )


def _sizes(sizes: np.ndarray) -> str:
    areas = sizes.prod(axis=1)
    return f"{_range(_size(sizes[areas.argmin()]), _size(sizes[areas.argmax()]))} pixels"


def _size(size: np.ndarray) -> str:
    return f"{size[0]} x {size[1]}"


def _range(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _elongated(known: Facts, fitting: Fitting, folder: str) -> str:
    """A remark on images so elongated that cropping or padding loses most of the image or the input."""
    aspects = known.sizes[:, 0] / known.sizes[:, 1] * fitting.input[1] / fitting.input[2]
    off = np.maximum(aspects, 1 / aspects)
    if not (count := int((off > _ELONGATED).sum())):
        return ""
    worst = int(off.argmax())
    which = f"{shown(os.path.relpath(known.names[worst], folder))}, " if known.names else ""
    lost = (
        "fill less than half of the input" if fitting.fit == "pad" else "lose more than half to the crop; --fit pad keeps all"
    )
    return f"elongated images ({count:,}, such as {which}{_size(known.sizes[worst])}) {lost}"


def _deep(known: Facts) -> list[str]:
    grey = f"16-bit grey images ({known.grey16:,}) use {known.depth} bits, of which the upper eight are kept"
    colour = f"images with 16 bits per channel ({known.colour16:,}) are reduced to the upper eight"
    return [grey] * bool(known.grey16) + [colour] * bool(known.colour16)


def _twice(found: Found) -> str:
    groups = in_several_parts(found)
    if not groups:
        return ""
    (part, image), *others = groups[0]
    names = [image, next(other for number, other in others if number != part)]
    which = " and ".join(shown(os.path.relpath(name, found.folder)) for name in names if isinstance(name, Path))
    return f"{sum(map(len, groups)):,} images have exact copies in another set{f' (such as {which})' * bool(which)}"


def _constant(moments: Moments) -> str:
    _, deviations = moments
    names = [name for name, value in zip(_CHANNELS[len(deviations)], deviations, strict=True) if value <= LEAST_STD]
    if not names:
        return ""
    return (
        f"{' and '.join(names)} hardly var{'ies' if len(names) == 1 else 'y'}: the standard deviation is taken as {LEAST_STD}"
    )
