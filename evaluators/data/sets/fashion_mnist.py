"""The full Fashion-MNIST, from the standard IDX files."""

from __future__ import annotations

import gzip
import shutil
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evaluators.data._registry import default_folder
from evaluators.data.dataset import Found, Images
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def read(path: Path | None, download: bool) -> Found:
    """Fashion-MNIST: 70,000 greyscale images, 28 x 28, 10 classes of clothing; fashion-mnist[:FOLDER]"""
    import numpy as np

    from evaluators.data._splits import stratified

    folder = default_folder() if path is None else path
    if download and missing(folder):
        fetch(folder)
    train, test = read_folder(folder)
    images = np.asarray(train.items)
    first, last = stratified(train.labels, CLASSES, [0.1])
    return Found(
        CLASSES,
        Images(images[first], train.labels[first]),
        Images(images[last], train.labels[last]),
        test,
        f"Fashion-MNIST (Zalando, MIT licence) from {folder}: its test set, and its training set with 10 % of each "
        "class split off for validation",
    )


def read_folder(folder: Path) -> tuple[Images, Images]:
    """The original training and test set from IDX files, gzipped or plain, in `folder` or FashionMNIST/raw under it.

    Raises InputError when one of the four files is missing or damaged.
    """
    absent = missing(folder)
    if absent:
        raise InputError(
            f"Fashion-MNIST is not in {folder}: no {absent[0]}[.gz]; download it with --download, or install the "
            "Debian package dataset-fashion-mnist and use fashion-mnist:/usr/share/datasets/fashion-mnist"
        )
    with TemporaryDirectory() as root:
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for name in FILES:
            _unpack(_locate(folder, name), raw / name)
        return _read(root, folder, train=True), _read(root, folder, train=False)


def missing(folder: Path) -> list[str]:
    """The names of the missing files among the four IDX files."""
    return [name for name in FILES if not _locate(folder, name).is_file()]


def fetch(folder: Path) -> None:
    """Downloads the files to FashionMNIST/raw under `folder`; torchvision checks their MD5 sums."""
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot download Fashion-MNIST to {folder}: {str(error).strip()}") from error


def _locate(folder: Path, name: str) -> Path:
    """The path of a file; prefers the gzipped one, whose checksum is verified on reading."""
    places = [place / file for place in (folder, folder / "FashionMNIST" / "raw") for file in (f"{name}.gz", name)]
    return next((place for place in places if place.is_file()), places[0])


def _unpack(source: Path, target: Path) -> None:
    try:
        with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source} is damaged ({error}); delete it and download it again") from error


def _read(root: str, folder: Path, train: bool) -> Images:
    from torchvision.datasets import FashionMNIST

    name = "train" if train else "t10k"
    try:
        data = FashionMNIST(root, train=train)
        images, labels = data.data.numpy(), data.targets.numpy()
        _check(images, labels)
    except (RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
        files = f"{name}-images-idx3-ubyte or {name}-labels-idx1-ubyte"
        reason = f" ({error})" if str(error) else ""
        raise InputError(f"{files} in {folder} is damaged{reason}; delete both and download them again") from error
    return Images(images, labels)


def _check(images: np.ndarray, labels: np.ndarray) -> None:
    if images.shape != (len(labels), 28, 28):
        raise ValueError(f"images of shape {images.shape}, {len(labels)} labels")
    if set(labels.tolist()) != set(range(len(CLASSES))):
        raise ValueError("the labels are not 0 to 9")
