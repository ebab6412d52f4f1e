"""CIFAR-10 from its python files: as torchvision reads them, and never unpickled when damaged."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from evaluators.data import load
from search_spaces.errors import InputError

INPUTS = [(3, 32, 32)]


def test_images_are_those_torchvision_reads(cifar_folder: Path) -> None:
    data, test = load(f"cifar10:{cifar_folder}", inputs=INPUTS), CIFAR10(cifar_folder, train=False)
    assert np.array_equal(data.test.images.transpose(0, 2, 3, 1), test.data)
    assert data.test.labels.tolist() == test.targets
    assert list(data.classes) == test.classes
    split = sorted(image.transpose(1, 2, 0).tobytes() for p in (data.train, data.validation) for image in p.images)
    assert split == sorted(image.tobytes() for image in CIFAR10(cifar_folder).data)
    assert np.bincount(data.validation.labels).tolist() == [2] * 10


def test_path_may_be_the_inner_folder_and_the_default_is_the_cache(
    cifar_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(load(f"cifar10:{cifar_folder / 'cifar-10-batches-py'}", inputs=INPUTS).train) == 180
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="--download"):
        load("cifar10", inputs=INPUTS)
    (tmp_path / "compact-nas").mkdir()
    cifar_folder.rename(tmp_path / "compact-nas" / "datasets")
    assert len(load("cifar10", inputs=INPUTS, download=True).train) == 180  # all there: nothing is downloaded


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_file_is_named_and_not_unpickled(cifar_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = cifar_folder / "cifar-10-batches-py" / name
    file.write_bytes(file.read_bytes() + b"!")
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a damaged file was unpickled"))
    with pytest.raises(InputError, match=f"{name} is damaged"):
        load(f"cifar10:{cifar_folder}", inputs=INPUTS)


def test_a_missing_file_is_named(cifar_folder: Path) -> None:
    (cifar_folder / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(InputError, match="no cifar-10-batches-py/data_batch_2"):
        load(f"cifar10:{cifar_folder}", inputs=INPUTS)


def test_a_failed_download_says_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(InputError, match="cannot download CIFAR-10"):
        load(f"cifar10:{tmp_path}", inputs=INPUTS, download=True)
