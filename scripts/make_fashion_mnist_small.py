"""Writes the subset of Fashion-MNIST that ships with the package, from the four original files; prints its SHA-256.

usage: python scripts/make_fashion_mnist_small.py FOLDER [--out FILE]

The first 1,200 images of each class of the training set are for training, the next 300 for validation, and the first
500 of each class of the test set for testing, all in the order of the original files. The file is an ordinary .npz, but
packed with LZMA, which takes 14 % less room here than deflate.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from evaluators.data.dataset import Images
from evaluators.data.sets.fashion_mnist import read_folder
from evaluators.data.sets.fashion_mnist_small import FILE

OUT = Path(__file__).parent.parent / "evaluators" / "data" / "embedded" / FILE
PER_CLASS = {"train": (0, 1200), "validation": (1200, 1500), "test": (0, 500)}


def subset(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the file: PART_images uint8 [N, 28, 28] and PART_labels uint8 [N] for the three parts."""
    train, test = read_folder(folder)
    arrays = {}
    for part, (start, stop) in PER_CLASS.items():
        whole = test if part == "test" else train
        chosen = _of_each_class(whole, start, stop)
        arrays[f"{part}_images"] = np.asarray(whole.items)[chosen]
        arrays[f"{part}_labels"] = whole.labels[chosen].astype(np.uint8)
    return arrays


def write(arrays: dict[str, np.ndarray], out: Path) -> str:
    """Writes `arrays` as .npz, equal bytes for equal arrays; returns the file's SHA-256."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.save(data, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so that the bytes do not depend on the day
            archive.writestr(entry, data.getvalue(), zipfile.ZIP_LZMA)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def _of_each_class(images: Images, start: int, stop: int) -> np.ndarray:
    by_class = [np.flatnonzero(images.labels == label)[start:stop] for label in range(10)]
    assert all(len(indexes) == stop - start for indexes in by_class), "these are not the original files"
    return np.sort(np.concatenate(by_class))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="the folder with the four IDX files")
    arguments.add_argument("--out", type=Path, default=OUT)
    given = arguments.parse_args()
    digest = write(subset(given.folder), given.out)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
