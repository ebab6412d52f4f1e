"""Fingerprints of data sets: classes, split, and names and sizes of files or bytes of arrays."""

import hashlib
import os
import unicodedata
from typing import Any

import numpy as np

from evaluators.data.dataset import Found, Images


def fingerprint(found: Found) -> dict[str, Any]:
    """The number of `classes`, of images in `train`, `validation` and `test`, and a `sha256` of the content.

    The hash covers the class names, the labels of each set, and the bytes of arrays, or the sizes and names of files relative
    to their common folder. It does not depend on where the folder is, and reads no images.
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
    """For each file, its name in Unicode NFC, like class names, and its size in bytes."""
    names = [unicodedata.normalize("NFC", os.path.relpath(file, folder)) for file in part.items]
    sizes = [os.path.getsize(file) for file in part.items]
    return [f"{name}\0{size}\0".encode("utf-8", "surrogateescape") for name, size in zip(names, sizes, strict=True)]
