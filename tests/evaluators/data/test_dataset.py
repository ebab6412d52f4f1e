"""What holds for every registered data set, and what is refused whatever the data set."""

import pickle
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from evaluators.data import Dataset, load, names
from evaluators.data._registry import default_folder
from evaluators.data._render import LEAST_STD
from evaluators.data.dataset import Input
from nas.testing import check_dataset
from search_spaces.errors import InputError

Spec = Callable[[str], str]
SMALLER, LARGER = (3, 12, 12), (3, 33, 33)  # than every data set's own size here
INPUTS = [SMALLER, (3, 16, 16)]


def splits(data: Dataset, given: Input) -> list[np.ndarray]:
    """The splits' images as they are held for an input, uint8 [N, C, H, W]."""
    how = data.preprocessing(given, (0.5,), (0.5,))
    held = [split.images for split in (data.train, data.validation, data.test)]
    return [images if isinstance(images, np.ndarray) else images.at(how) for images in held]


@pytest.mark.parametrize("name", names())
def test_every_data_set_is_what_a_search_needs(name: str, sample_spec: Spec) -> None:
    check_dataset(sample_spec(name))


@pytest.mark.parametrize("name", names())
def test_training_images_are_held_at_the_largest_input_and_the_others_at_each(name: str, sample_spec: Spec) -> None:
    data = load(sample_spec(name), inputs=INPUTS)
    for given in INPUTS:
        train, *others = splits(data, given)
        assert train.shape[2:] == (16, 16)
        assert all(images.shape[2:] == given[1:] for images in others)
    for split, images in zip((data.train, data.validation, data.test), splits(data, SMALLER), strict=True):
        assert images.shape[:2] == (len(split.labels), 3) and images.dtype == np.uint8
        assert set(split.labels) == set(range(len(data.classes)))


@pytest.mark.parametrize("name", sorted(set(names()) - {"imagefolder"}))
def test_arrays_no_larger_than_the_largest_input_are_kept_as_they_are(name: str, sample_spec: Spec) -> None:
    kept = splits(load(sample_spec(name), inputs=[SMALLER, LARGER]), SMALLER)
    assert {images.shape[1:] for images in kept} == {(3, 32, 32) if name == "cifar10" else (1, 28, 28)}


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("largest", [INPUTS[1], LARGER])
def test_processes_can_share_what_is_held(name: str, largest: Input, sample_spec: Spec) -> None:
    data, buffers = load(sample_spec(name), inputs=[SMALLER, largest]), []
    assert len(pickle.dumps(data, 5, buffer_callback=buffers.append)) < 3000
    held = sum(split.images.nbytes + split.labels.nbytes for split in (data.train, data.validation, data.test))
    assert sum(buffer.raw().nbytes for buffer in buffers) == held


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("given", [(3, 16, 16), (1, 16, 16), (3, 40, 40)])
def test_mean_and_std_are_those_of_the_training_pixels(name: str, given: Input, sample_spec: Spec) -> None:
    data = load(sample_spec(name), inputs=[given])
    mean, std = data.mean_std()
    pixels = splits(data, given)[0] / 255
    assert len(mean) == len(std) == given[0]
    assert mean == pytest.approx(pixels.mean(axis=(0, 2, 3)).repeat(given[0] // pixels.shape[1]), abs=1e-9)  # float64 sums
    wanted = np.maximum(pixels.std(axis=(0, 2, 3)), LEAST_STD).repeat(given[0] // pixels.shape[1])
    assert std == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("name", names())
def test_progress_is_told(name: str, sample_spec: Spec) -> None:
    told: list[tuple[int, int]] = []
    data = load(sample_spec(name), inputs=INPUTS, progress=lambda done, total: told.append((done, total)))
    total = sum(map(len, (data.train, data.validation, data.test)))
    assert told == sorted(told) and told[-1] == (total, total)


@pytest.mark.parametrize("name", names())
def test_memory_is_counted_at_every_input(name: str, sample_spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sample_spec(name)
    data = load(spec, inputs=INPUTS)
    needed = 3 * (len(data.train) * 16 * 16 + (len(data.validation) + len(data.test)) * (12 * 12 + 16 * 16))
    monkeypatch.setattr("evaluators.data._memory.available_bytes", lambda: 2 * needed - 1)
    with pytest.raises(InputError, match="smaller inputs, fewer images"):
        load(spec, inputs=INPUTS, stream=False)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from evaluators.data import names, summaries; names(); summaries(); "
        "print({'torch', 'torchvision', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_smaller_arrays_are_what_torchvision_makes_of_them(sample_spec: Spec) -> None:
    spec = sample_spec("cifar10")
    original = splits(load(spec, inputs=[LARGER]), LARGER)
    for images, small in zip(original, splits(load(spec, inputs=[(3, 20, 20)]), (3, 20, 20)), strict=True):
        expected = v2.functional.resize(torch.from_numpy(images), [20, 20], antialias=True).numpy()
        assert np.abs(small.astype(int) - expected).max() <= 1  # torch weighs in 16 bits, PIL in 32


def test_colour_arrays_for_grey_networks_are_pils(sample_spec: Spec) -> None:
    from PIL import Image

    spec = sample_spec("cifar10")
    for colour, grey in zip(*(splits(load(spec, inputs=[i]), i) for i in (LARGER, (1, 33, 33))), strict=True):
        expected = [np.asarray(Image.fromarray(image).convert("L")) for image in colour.transpose(0, 2, 3, 1)]
        assert np.array_equal(grey[:, 0], expected)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cifer10", 'no data set "cifer10"; did you mean "cifar10"?'),
        ("zzz", "known: cifar10, csv, fashion-mnist, "),
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
        load(spec, inputs=INPUTS)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([(3, 7, 32)], "input 3x7x32: must have 1 or 3 channels and at least 8 pixels"),
        ([(3, 32, 32), (2, 32, 32)], "input 2x32x32: must have 1 or 3 channels"),
        ([(3, 32, 32), (1, 64, 64)], "inputs 3x32x32, 1x64x64: all must have the same number of channels"),
        ([(3, 100, 100), (3, 200, 200), (3, 100, 106)], "inputs 3x100x106 and 3x100x100: all must have the same aspect ratio"),
        ([(3, 160, 96), (3, 96, 160)], "inputs 3x96x160 and 3x160x96: all must have the same aspect ratio"),
    ],
)
def test_wrong_inputs(inputs: list[Input], words: str) -> None:
    with pytest.raises(InputError) as caught:
        load("fashion-mnist-small", inputs=inputs)
    assert words in str(caught.value)


def test_nearly_the_same_shape_will_do() -> None:
    data = load("fashion-mnist-small", inputs=[(3, 160, 96), (3, 100, 63)])
    assert data.inputs == ((3, 160, 96), (3, 100, 63))


def test_where_there_is_no_home_it_is_said_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # a user whom the system does not know
    with pytest.raises(InputError, match=r"HOME is not set\); set XDG_CACHE_HOME=FOLDER"):
        default_folder()


@pytest.mark.parametrize(("kind", "there"), [("imagefolder", "photos"), ("csv", "photos.csv")])
def test_the_closest_name_of_its_kind_is_suggested_for_a_path_that_does_not_exist(
    kind: str, there: str, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / ".photos.csv").mkdir()
    (tmp_path / "photos.csv").write_text("")
    with pytest.raises(InputError, match=f"does not exist; did you mean .*/{there}\\?$"):
        load(f"{kind}:{tmp_path / 'photos.cs'}", inputs=[LARGER])
