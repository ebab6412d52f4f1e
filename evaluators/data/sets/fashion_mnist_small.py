"""The bundled data set: a balanced subset of Fashion-MNIST."""

from __future__ import annotations

import hashlib
import io
from importlib.resources import files
from pathlib import Path

from evaluators.data.dataset import Found, Images
from evaluators.data.sets.fashion_mnist import CLASSES
from search_spaces.errors import InputError

FILE = "fashion_mnist_small.npz"  # written by scripts/make_fashion_mnist_small.py, with this checksum
SHA256 = "011a67adbb76c3830e567c577af9064f75e1cf91a393af3715a0eb18e52a0fb1"


def read(path: Path | None, download: bool) -> Found:
    """A balanced subset of Fashion-MNIST, bundled with this package: 12,000 + 3,000 + 5,000 images, 28 x 28"""
    if path is not None:
        raise InputError(
            f"fashion-mnist-small ships with the package and takes no path; the full data set is fashion-mnist:{path}"
        )
    parts = _parts()
    source = (
        "balanced subset of Fashion-MNIST (Zalando, MIT licence) shipped with the package: training and "
        "validation images from its training set, test images from its test set"
    )
    return Found(CLASSES, parts["train"], parts["validation"], parts["test"], source)


def _parts() -> dict[str, Images]:
    import numpy as np

    stored = files("evaluators.data") / "embedded" / FILE
    data = stored.read_bytes() if stored.is_file() else b""
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise InputError(f"{stored} is {'damaged' if data else 'missing'}; install this package again")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        parts = ("train", "validation", "test")
        return {part: Images(arrays[f"{part}_images"], arrays[f"{part}_labels"].astype(np.int64)) for part in parts}
