"""Small data sets in their standard files, one for each registered name: tests over all data sets load these."""

import gzip
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Fashion-MNIST's four files with 200 + 50 random images: the training ones gzipped, the test ones plain."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, count in (("train", 200), ("t10k", 50)):
        images, labels = _random(count, (28, 28), seed=count)
        for name, magic, array in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
            head = b"".join(n.to_bytes(4, "big") for n in (magic, *array.shape))
            file = folder / f"{part}-{name}-ubyte"
            if part == "train":
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(head + array.tobytes()))
            else:
                file.write_bytes(head + array.tobytes())
    return folder


@pytest.fixture
def cifar_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's seven files with 40 random images each; torchvision is told their MD5 sums."""
    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)]
    for seed, name in enumerate([*names, "test_batch"]):
        images, labels = _random(40, (3072,), seed)
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": labels.tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))

    def listed(name: str) -> list[str]:
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    monkeypatch.setattr(CIFAR10, "train_list", [listed(name) for name in names])
    monkeypatch.setattr(CIFAR10, "test_list", [listed("test_batch")])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": listed("batches.meta")[1]})
    return folder.parent


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos in three uneven classes, of different sizes and kinds of pixels."""
    folder = tmp_path / "photos"
    for label, (name, count) in enumerate({"cat": 20, "ape": 7, "Dog": 3}.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            mode = ("RGB", "L", "RGBA", "P", "CMYK")[i % 5]
            image(mode, (40 + i, 60 - i), seed=100 * label + i).save(
                folder / name / f"{i}.{'jpg' if mode == 'CMYK' else 'png'}"
            )
    return folder


@pytest.fixture
def sample_spec(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The spec of a small data set for a registered name; a name that is not known here is skipped."""
    folders = {"fashion-mnist": "idx_folder", "cifar10": "cifar_folder", "imagefolder": "photos"}

    def spec(name: str) -> str:
        if name == "fashion-mnist-small":
            return name
        if name not in folders:
            pytest.skip(f"no small {name} here")
        return f"{name}:{request.getfixturevalue(folders[name])}"

    return spec


def image(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    """An image of random colours, `size` (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def _random(count: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images uint8 [count, *shape], and labels 0 to 9 in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
    return pixels, np.arange(count, dtype=np.uint8) % 10
