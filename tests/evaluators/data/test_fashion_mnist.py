"""Fashion-MNIST: the subset that ships, the script that makes it, and the full data from IDX files."""

import gzip
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from evaluators.data import load
from evaluators.data.sets import fashion_mnist, fashion_mnist_small
from search_spaces.errors import InputError

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_fashion_mnist_small.py"
ORIGINAL = Path("/usr/share/datasets/fashion-mnist")  # the Debian package's
INPUTS = [(3, 28, 28)]
Damage = Callable[[bytes], bytes]


def test_the_embedded_subset_is_balanced() -> None:
    data = load("fashion-mnist-small", inputs=INPUTS)
    for split, count in ((data.train, 12_000), (data.validation, 3_000), (data.test, 5_000)):
        assert np.bincount(split.labels).tolist() == [count // 10] * 10
    assert data.train.images.shape == (12_000, 1, 28, 28)
    mean, std = data.mean_std()
    assert mean[0] == pytest.approx(0.2860, abs=0.003)  # of the whole; 9.4 million pixels of 12,000 images
    assert std[0] == pytest.approx(0.3530, abs=0.003)


def test_a_damaged_package_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist_small, "SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"fashion_mnist_small\.npz is damaged; install this package again"):
        load("fashion-mnist-small", inputs=INPUTS)
    monkeypatch.setattr(fashion_mnist_small, "FILE", "absent.npz")
    with pytest.raises(InputError, match=r"absent\.npz is missing"):
        load("fashion-mnist-small", inputs=INPUTS)


def test_the_licence_ships_beside_the_images() -> None:
    licence = Path(fashion_mnist_small.__file__).parents[1] / "embedded" / "LICENSE-fashion-mnist"
    assert "Zalando" in licence.read_text(encoding="utf-8")


@pytest.mark.skipif(not ORIGINAL.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_the_script_makes_the_arrays_that_ship() -> None:
    with np.load(Path(fashion_mnist_small.__file__).parents[1] / "embedded" / fashion_mnist_small.FILE) as shipped:
        made = _script().subset(ORIGINAL)
        assert set(made) == set(shipped.files)
        assert all(np.array_equal(made[name], shipped[name]) for name in made)


def test_the_script_writes_equal_bytes_for_equal_arrays(tmp_path: Path) -> None:
    arrays = {"train_images": np.arange(1000, dtype=np.uint8), "train_labels": np.ones(3, np.uint8)}
    first, second = (_script().write(arrays, tmp_path / name) for name in ("a.npz", "b.npz"))
    assert first == second
    with np.load(tmp_path / "a.npz", allow_pickle=False) as written:
        assert np.array_equal(written["train_images"], arrays["train_images"])


def test_classes_are_torchvisions() -> None:
    assert list(fashion_mnist.CLASSES) == FashionMNIST.classes


def test_images_are_those_torchvision_reads(idx_folder: Path, tmp_path: Path) -> None:
    root = _as_torchvision_wants(idx_folder, tmp_path)
    data = load(f"fashion-mnist:{idx_folder}", inputs=INPUTS)
    test = FashionMNIST(root, train=False)
    assert np.array_equal(data.test.images, test.data.numpy()[:, None])
    assert np.array_equal(data.test.labels, test.targets.numpy())
    split = sorted(image[0].tobytes() for part in (data.train, data.validation) for image in part.images)
    assert split == sorted(image.tobytes() for image in FashionMNIST(root, train=True).data.numpy())
    assert np.bincount(data.validation.labels).tolist() == [2] * 10


def test_torchvisions_own_layout_and_the_default_folder(
    idx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="--download"):
        load("fashion-mnist", inputs=INPUTS)
    root = _as_torchvision_wants(idx_folder, tmp_path / "compact-nas" / "datasets")
    assert len(load("fashion-mnist", inputs=INPUTS, download=True).train) == 180  # all there: nothing is downloaded
    assert len(load(f"fashion-mnist:{root}", inputs=INPUTS).train) == 180


def test_a_failed_download_says_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(InputError, match="cannot download Fashion-MNIST"):
        load(f"fashion-mnist:{tmp_path}", inputs=INPUTS, download=True)


def test_a_missing_file_is_named(idx_folder: Path) -> None:
    (idx_folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="no t10k-labels-idx1-ubyte"):
        load(f"fashion-mnist:{idx_folder}", inputs=INPUTS)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-8] + b"\0" * 8, lambda b: b"no gzip"])
def test_a_damaged_gz_file_is_named(idx_folder: Path, damage: Damage) -> None:
    file = idx_folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        load(f"fashion-mnist:{idx_folder}", inputs=INPUTS)


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b"",
        lambda b: b[:5],
        lambda b: b"\0\0\x0a\x03" + b[4:],
        lambda b: b[:4] + (49).to_bytes(4, "big") + b[8:],
        lambda b: b[:-50] + bytes([77]) * 50 if len(b) < 100 else b[:-1],
    ],
)
def test_a_damaged_plain_file_is_named(idx_folder: Path, name: str, damage: Damage) -> None:
    file = idx_folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=f"{name}.* damaged"):
        load(f"fashion-mnist:{idx_folder}", inputs=INPUTS)


def _as_torchvision_wants(folder: Path, root: Path) -> Path:
    """Copies the files, unpacked, to FashionMNIST/raw under `root`, and returns `root`."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in folder.iterdir():
        if file.suffix == ".gz":
            (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        else:
            shutil.copy(file, raw)
    return root


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_fashion_mnist_small", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
