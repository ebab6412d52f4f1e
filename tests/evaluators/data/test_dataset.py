"""What holds for every registered data set, and what is refused whatever the data set."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from evaluators.data import Dataset, load, names, summaries
from search_spaces.errors import InputError

Spec = Callable[[str], str]


@pytest.mark.parametrize("name", names())
def test_splits_are_arrays_of_one_size_with_every_class(name: str, sample_spec: Spec) -> None:
    data = load(sample_spec(name))
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split.labels), 3, data.size, data.size)
        assert split.images.dtype == np.uint8 and split.images.flags.c_contiguous
        assert split.labels.dtype == np.int64
        assert set(split.labels) == set(range(len(data.classes)))
    assert data.name == name
    assert data.source and "\n" not in data.source


@pytest.mark.parametrize("name", names())
def test_splits_have_no_picture_in_common(name: str, sample_spec: Spec) -> None:
    data = load(sample_spec(name))
    train, validation, test = (
        {image.tobytes() for image in split.images} for split in (data.train, data.validation, data.test)
    )
    assert not train & validation and not train & test and not validation & test


@pytest.mark.parametrize("name", names())
def test_loading_again_gives_the_same_whatever_the_global_seed(name: str, sample_spec: Spec) -> None:
    spec = sample_spec(name)
    first = load(spec)
    np.random.seed(1)
    assert _equal(first, load(spec))


@pytest.mark.parametrize("name", names())
def test_mean_and_std_are_those_of_the_training_pixels(name: str, sample_spec: Spec) -> None:
    data = load(sample_spec(name))
    mean, std = data.mean_std()
    pixels = data.train.images / 255
    assert mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-9)  # float64 sums of at most 10^7 terms
    assert std == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-9)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("size", [8, 33])
def test_pictures_come_in_the_size_asked_for_and_progress_is_told(name: str, size: int, sample_spec: Spec) -> None:
    told: list[tuple[int, int]] = []
    data = load(sample_spec(name), size=size, progress=lambda done, total: told.append((done, total)))
    assert data.train.images.shape[2:] == (size, size) and data.size == size
    total = sum(map(len, (data.train, data.validation, data.test)))
    assert told == sorted(told) and told[-1] == (total, total)


@pytest.mark.parametrize("name", names())
def test_own_size_is_cut_to_the_largest(name: str, sample_spec: Spec) -> None:
    assert load(sample_spec(name), largest=16).size == 16


@pytest.mark.parametrize("name", names())
def test_too_little_memory_names_the_option_that_helps(name: str, sample_spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sample_spec(name)
    monkeypatch.setattr("evaluators.data._pictures.available_bytes", lambda: 40_000)
    with pytest.raises(InputError, match="--train-size"):
        load(spec, stream=False)


@pytest.mark.parametrize("name", names())
def test_every_data_set_has_a_summary(name: str) -> None:
    assert 10 < len(summaries()[name]) <= 120


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from evaluators.data import names, summaries; names(); summaries(); "
        "print({'torch', 'torchvision', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_resized_arrays_are_what_torchvision_makes_of_them(sample_spec: Spec) -> None:
    spec = sample_spec("cifar10")
    original, small = load(spec), load(spec, size=20)
    expected = v2.functional.resize(torch.from_numpy(original.test.images), [20, 20], antialias=True).numpy()
    assert np.abs(small.test.images.astype(int) - expected).max() <= 1  # one rounding


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cifer10", 'no data set "cifer10"; did you mean "cifar10"?'),
        ("zzz", "known: cifar10, fashion-mnist, "),
        ("some/folder", "imagefolder:PATH"),
        ("imagefolder", "imagefolder:PATH"),
        ("imagefolder:", "imagefolder:PATH"),
        ("imagefolder:/does/not/exist", "/does/not/exist does not exist"),
        ("fashion-mnist:/does/not/exist", "--download"),
        ("cifar10:/does/not/exist", "--download"),
        ("fashion-mnist-small:/some/where", "takes no path"),
    ],
)
def test_wrong_specs(spec: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(spec)
    assert words in str(caught.value)


@pytest.mark.parametrize("size", [-1, 0, 7, 225])
def test_size_out_of_range(size: int) -> None:
    with pytest.raises(InputError, match="--train-size is 8 to 224"):
        load("fashion-mnist-small", size=size)


def _equal(a: Dataset, b: Dataset) -> bool:
    pairs = ((a.train, b.train), (a.validation, b.validation), (a.test, b.test))
    return all(np.array_equal(x.images, y.images) and np.array_equal(x.labels, y.labels) for x, y in pairs)
