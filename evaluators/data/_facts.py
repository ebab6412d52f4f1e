"""Facts about images before preprocessing: sizes, bit depth, and duplicates across sets."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.data._open import head, highest
from evaluators.data._render import in_threads
from evaluators.data.dataset import Found

_TAIL = 4096
_LEAST_DEPTH, _MOST_DEPTH = 8, 16
Placed = tuple[int, Any]  # index of the set, and an image: its file or its pixels


@dataclass(frozen=True, eq=False)
class Facts:
    """Facts about all readable images: `names` of files, `sizes` int64 [N, 2] (width, height) after EXIF rotation.

    `grey16` and `colour16` count the images with 16 bits per pixel or colour channel; `depth` is the bits that the former use.
    """

    names: list[Path]
    sizes: np.ndarray
    grey16: int
    colour16: int
    depth: int


def facts(found: Found) -> Facts:
    """Reads the file headers and, for 16-bit grey images of the training set, the highest pixel value."""
    parts = (found.train, found.validation, found.test)
    if isinstance(found.train.items, np.ndarray):
        own = [[part.items.shape[2], part.items.shape[1]] for part in parts if isinstance(part.items, np.ndarray)]
        return Facts([], np.array(own).repeat([len(part.labels) for part in parts], axis=0), 0, 0, _MOST_DEPTH)
    heads = [[(file, known) for file, known in zip(p.items, in_threads(head, p.items), strict=True) if known] for p in parts]
    known = [pair for part in heads for pair in part]
    sizes = np.array([size for _, (*size, _) in known], np.int64).reshape(-1, 2)
    kinds = [kind for _, (_, _, kind) in known]
    deep = [file for file, (_, _, kind) in heads[0] if kind == "grey16"]
    grey, colour = kinds.count("grey16"), kinds.count("colour16")
    return Facts([file for file, _ in known], sizes, grey, colour, _depth(deep) if grey else _MOST_DEPTH)


def _depth(files: Sequence[Path]) -> int:
    """The number of bits that 16-bit grey images use, at least eight: many sensors give 10, 12 or 14."""
    most = max(in_threads(highest, files), default=0)
    return min(max(most.bit_length(), _LEAST_DEPTH), _MOST_DEPTH) if files else _MOST_DEPTH


def in_several_parts(found: Found) -> list[list[Placed]]:
    """Groups of identical images that occur in more than one of the training, validation and test sets.

    Files are read only if others have the same size, and in full only if those have the same last bytes.
    """
    parts = enumerate((found.train, found.validation, found.test))
    groups: list[list[Placed]] = [[(number, image) for number, part in parts for image in part.items]]
    for key in (_pixels,) if isinstance(found.train.items, np.ndarray) else (_size, _end, _whole):
        groups = [alike for group in groups for alike in _alike(group, key)]
    return groups


def _alike(group: Sequence[Placed], key: Callable[[Any], Hashable]) -> list[list[Placed]]:
    """Groups of images with the same key, restricted to groups that span more than one set."""
    by_key: dict[Hashable, list[Placed]] = defaultdict(list)
    for placed in group:
        by_key[key(placed[1])].append(placed)
    return [alike for alike in by_key.values() if len({part for part, _ in alike}) > 1]


def _size(file: Path) -> int:
    return file.stat().st_size


def _end(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(-min(_TAIL, _size(file)), os.SEEK_END)
        return opened.read()


def _whole(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _pixels(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()
