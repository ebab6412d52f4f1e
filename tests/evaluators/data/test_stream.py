"""Streamed folders: the same images, batches and training as from memory, whatever the number of worker processes."""

import itertools
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.data import Dataset, Split, UnreadableImage, load
from evaluators.data._files import Files
from evaluators.data._render import Rendered
from evaluators.data._stream import stream
from evaluators.data.dataset import Input
from evaluators.training.batches import Batches
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.recipe import Recipe, load_recipe
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

CPU = torch.device("cpu")
WORKERS = [0, 1, 3]
SIZE = 16
INPUTS = [(3, SIZE, SIZE), (3, 12, 12)]


@pytest.fixture
def both(photos: Path) -> tuple[Dataset, Dataset]:
    """The photos in memory, and streamed."""
    held, streamed = (load(f"imagefolder:{photos}", inputs=INPUTS, stream=way) for way in (False, True))
    return held, streamed


def files_of(dataset: Dataset) -> Files:
    assert isinstance(dataset.train.images, Files)
    return dataset.train.images


def batches_of(split: Split, dataset: Dataset, given: Input = INPUTS[0]) -> Batches:
    return Batches.of(split, dataset.preprocessing(given, *dataset.mean_std()), CPU)


def test_streamed_images_are_those_in_memory(both: tuple[Dataset, Dataset]) -> None:
    held, streamed = both
    for name, wanted in itertools.product(("train", "validation", "test"), INPUTS):
        expected, found = getattr(held, name), getattr(streamed, name)
        how = held.preprocessing(wanted, *held.mean_std())
        images = expected.images.at(how) if isinstance(expected.images, Rendered) else expected.images
        assert np.array_equal(found.images.at(how).read(range(len(found))), images)
        assert np.array_equal(found.labels, expected.labels)
    assert (streamed.inputs, streamed.classes, streamed.name) == (held.inputs, held.classes, held.name)
    assert streamed.mean_std() == held.mean_std()
    assert "streamed from their files" in streamed.source


def test_mean_and_std_of_many_images_are_of_a_sample(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.data._files.SAMPLE", 5)
    told: list[tuple[int, int]] = []
    streamed = load(
        f"imagefolder:{photos}", inputs=INPUTS, stream=True, progress=lambda done, total: told.append((done, total))
    )
    pixels = files_of(streamed).read(range(0, len(streamed.train), 4)) / 255
    assert len(pixels) == 5 and told[-1] == (30, 30)  # every file is decoded once, to know that it can be
    assert streamed.mean_std()[0] == pytest.approx(pixels.mean(axis=(0, 2, 3)))
    assert streamed.mean_std()[1] == pytest.approx(pixels.std(axis=(0, 2, 3)))


def test_photos_are_streamed_when_they_take_more_than_half_of_the_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 3 * (20 * SIZE * SIZE + 10 * (SIZE * SIZE + 12 * 12))
    for available, streams in ((2 * needed, False), (2 * needed - 1, True)):
        monkeypatch.setattr("evaluators.data._memory.available_bytes", lambda bytes_=available: bytes_)
        assert isinstance(load(f"imagefolder:{photos}", inputs=INPUTS).train.images, Files) == streams


def test_processes_are_given_names_not_images(both: tuple[Dataset, Dataset]) -> None:
    files = files_of(both[1])
    assert len(pickle.dumps(files)) < files.nbytes + 1000 < 200 * len(files) + 1000
    assert np.array_equal(pickle.loads(pickle.dumps(files)).read([3]), files.read([3]))  # noqa: S301


def test_a_relative_path_is_read_from_any_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    files = files_of(load(f"imagefolder:{photos.name}", inputs=INPUTS, stream=True))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert files.read([0]).any()


@pytest.mark.parametrize("workers", WORKERS)
@given(data=st.data())
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_come_as_asked_for(workers: int, both: tuple[Dataset, Dataset], data: st.DataObject) -> None:
    held, streamed = both
    indexes = st.lists(st.integers(0, len(held.train) - 1), min_size=1, max_size=7)
    wanted = [torch.tensor(batch) for batch in data.draw(st.lists(indexes, max_size=6))]
    before = torch.get_rng_state()
    found = list(stream(files_of(streamed), wanted, workers))
    assert torch.equal(before, torch.get_rng_state())
    assert len(found) == len(wanted)
    assert all(np.array_equal(a.numpy(), held.train.images[b.numpy()]) for a, b in zip(found, wanted, strict=True))
    assert not any(images.is_shared() for images in found)  # /dev/shm may be too small for them, as in containers


@pytest.mark.parametrize("workers", WORKERS)
def test_a_truncated_image_is_named_in_one_line(workers: int, photos: Path) -> None:
    files = files_of(load(f"imagefolder:{photos}", inputs=INPUTS, stream=True))
    file = photos / "cat" / "4.jpg"
    order = [torch.arange(len(files))]
    assert str(file) in {str(files._path(i)) for i in range(len(files))}
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(UnreadableImage) as caught:
        list(stream(files, order, workers))
    message = str(caught.value)
    assert message.startswith(f"cannot read the image {file}: ") and "\n" not in message and "truncated" in message


def test_a_bad_image_met_while_reading_is_wrong_input(both: tuple[Dataset, Dataset], photos: Path) -> None:
    train = batches_of(both[1].train, both[1])
    for file in photos.glob("*/*.png"):
        file.unlink()
    with pytest.raises(InputError, match=r"cannot read 4 images; replace or remove them:(\n  .*\.png: .*){4}"):
        list(train.in_order(4))


PROXY = replace(load_recipe("proxy"), least_images=40, batch_size=8)
RECIPES = {
    "proxy": PROXY,
    "more altered": replace(PROXY, cutout=0.25, randaugment_ops=2),
    "parts": replace(PROXY, crop_padding=0.0, crop_scale=0.3, colour=0.2),
}


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_epochs_show_exactly_the_same(recipe: Recipe, given: Input, both: tuple[Dataset, Dataset]) -> None:
    shown = []
    for dataset in both:
        train = batches_of(dataset.train, dataset, given)
        generator = torch.Generator().manual_seed(7)
        shown.append([*train.epoch(train.share(0.8), recipe, generator), *train.in_order(6)])
    assert len(shown[0]) == len(shown[1])
    for (images, labels), (others, other_labels) in zip(*shown, strict=True):
        assert torch.equal(images, others) and torch.equal(labels, other_labels)
        assert images.stride() == others.stride()


def test_training_comes_to_the_same(both: tuple[Dataset, Dataset]) -> None:
    curves = []
    for dataset in both:
        train, validation = (batches_of(split, dataset) for split in (dataset.train, dataset.validation))
        genotype = Genotype.parse("conv 8/2 act=relu\nshuffle 16/2\nhead dropout=0.5")
        network, generator = seeded_network(genotype, Task((3, SIZE, SIZE), 3), 1, CPU)
        curves.append([(e.loss, e.accuracy) for e in epochs(network, train, validation, PROXY, generator)])
    assert curves[0] == curves[1]
