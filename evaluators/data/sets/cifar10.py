"""CIFAR-10, from the standard Python files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.data._registry import default_folder
from evaluators.data.dataset import Found, Images
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

FOLDER = "cifar-10-batches-py"


def read(path: Path | None, download: bool) -> Found:
    """CIFAR-10: 60,000 colour images, 32 x 32, 10 classes of animals and vehicles; cifar10[:FOLDER]"""
    import numpy as np

    from evaluators.data._splits import stratified

    root = _root(default_folder() if path is None else path)
    if download:
        _fetch(root)
    _check(root)
    train, test = _open(root, train=True), _open(root, train=False)
    classes, labels = tuple(train.classes), np.array(train.targets, np.int64)
    first, last = stratified(labels, classes, [0.1])
    return Found(
        classes,
        Images(train.data[first], labels[first]),
        Images(train.data[last], labels[last]),
        Images(test.data, np.array(test.targets, np.int64)),
        f"CIFAR-10 (Krizhevsky, 2009) from {root / FOLDER}: its test set, and its training set with 10 % of each class "
        "split off for validation",
    )


def _root(folder: Path) -> Path:
    """The parent folder of cifar-10-batches-py; `folder` may be either."""
    return folder.absolute().parent if folder.name == FOLDER else folder


def _check(root: Path) -> None:
    """Raises InputError unless every file has the right MD5 sum, since the files are unpickled."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    for name, md5 in [*CIFAR10.train_list, *CIFAR10.test_list, meta]:
        file = root / FOLDER / name
        if not file.is_file():
            raise InputError(
                f"CIFAR-10 is not in {root}: no {FOLDER}/{name}; download it with --download, or unpack "
                f"{CIFAR10.filename} from {CIFAR10.url.rpartition('/')[0]} there and use cifar10:FOLDER"
            )
        if not check_integrity(str(file), md5):
            raise InputError(f"{file} is damaged: its MD5 sum is wrong; delete {root / FOLDER} and download it again")


def _open(root: Path, train: bool) -> CIFAR10:
    from torchvision.datasets import CIFAR10

    return CIFAR10(root, train=train)


def _fetch(root: Path) -> None:
    """Downloads and unpacks the archive under `root` if needed; torchvision checks the MD5 sums."""
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(root, download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot download CIFAR-10 to {root}: {str(error).strip()}") from error
