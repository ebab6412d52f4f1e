"""What tells one data set from another: its classes, its split, and the names and sizes of its files or its arrays' bytes."""

import hashlib
import os
import unicodedata
from typing import Any

import numpy as np

from evaluators.data.dataset import Found, Images


def fingerprint(found: Found) -> dict[str, Any]:
    """Numbers of `classes` and of images in `train`, `validation` and `test`, and the `sha256` of what they are.

    That hash is of the class names, of the labels in each part, and of arrays' bytes or of files' names, below the folder
    that holds them all, and sizes: it is the same wherever the folder lies, and no image is read for it.
    """
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    digest = hashlib.sha256("\0".join(found.classes).encode("utf-8", "surrogateescape"))
    for name, part in parts.items():
        digest.update(f"\0{name} {len(part.labels)}\0".encode())
        digest.update(part.labels.astype("<i8").tobytes())
        for item in _arrays(part) if isinstance(part.items, np.ndarray) else _files(part, found.folder):
            digest.update(item)
    counts = {name: len(part.labels) for name, part in parts.items()}
    return {"classes": len(found.classes), **counts, "sha256": digest.hexdigest()}


def _arrays(part: Images) -> list[bytes | memoryview]:
    pixels = np.ascontiguousarray(part.items)
    return [f"{pixels.shape}{pixels.dtype}".encode(), pixels.reshape(-1).data]


def _files(part: Images, folder: str) -> list[bytes]:
    """Of each file its name, in Unicode's composed form as class names are, and its size in bytes."""
    names = [unicodedata.normalize("NFC", os.path.relpath(file, folder)) for file in part.items]
    sizes = [os.path.getsize(file) for file in part.items]
    return [f"{name}\0{size}\0".encode("utf-8", "surrogateescape") for name, size in zip(names, sizes, strict=True)]
