"""Batches at a network's own input: held images scaled as PIL scales them, in part or whole, of one channel or three."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from evaluators.data._render import Rendered
from evaluators.training.batches import Batches
from evaluators.training.recipe import load_recipe

CPU = torch.device("cpu")
PLAIN = replace(load_recipe("proxy"), least_images=0, crop_padding=0.0, flip=False, batch_size=16)
PARTS = replace(PLAIN, crop_scale=0.3, colour=0.2, flip=True)


def held(channels: int = 3, n: int = 20, height: int = 40, width: int = 24) -> np.ndarray:
    """Random images uint8 [N, C, H, W], channels last in memory as data sets hold them."""
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), np.uint8).transpose(0, 3, 1, 2)


def at(size: tuple[int, int], images: np.ndarray, channels: int = 3, fit: str = "crop") -> Batches:
    """The images' pixels in 0..1 at a size."""
    return Batches(images, np.arange(len(images)) % 2, (0.0,) * channels, (1.0,) * channels, CPU, size=size, fit=fit)


def by_pil(image: np.ndarray, size: tuple[int, int], channels: int, fit: str) -> np.ndarray:
    """[C, H, W] in 0..1; these sizes are of the aspect of what is held, so that nothing is rounded."""
    found = Image.fromarray(image.transpose(1, 2, 0).squeeze()).convert("RGB" if channels == 3 else "L")
    place = {"crop": ImageOps.fit, "pad": ImageOps.pad}[fit]
    return np.asarray(place(found, size[::-1], Image.Resampling.BILINEAR)).reshape(*size, channels).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(20, 12), (40, 24), (80, 48)])
@pytest.mark.parametrize(("channels", "of"), [(3, 3), (3, 1), (1, 1)])
def test_what_is_held_is_scaled_to_the_input(size, fit, channels, of):
    raw = held(of)
    images = at(size, raw, channels, fit)
    expected = np.stack([by_pil(image, size, channels, fit) for image in raw])
    evaluated = torch.cat([batch for batch, _ in images.in_order(7)])
    np.testing.assert_allclose(evaluated.numpy(), expected, atol=1e-6)
    trained, order = _shown(images, PLAIN)
    assert np.abs(trained.numpy() - expected[order]).max() < 1.01 / 255  # torch weighs in 16 bits, PIL in 32
    few, labels = images.few(6)
    assert few.shape == (6, channels, *size) and labels.bincount().tolist() == [3, 3]


def test_an_input_of_another_aspect_is_cropped_or_padded():
    images = held()
    [cropped, padded] = (_shown(at((24, 24), images, fit=fit), PLAIN)[0].numpy() for fit in ("crop", "pad"))
    assert sorted(image.tobytes() for image in cropped) == sorted(
        (image[:, 8:32] / np.float32(255)).tobytes() for image in images
    )
    assert not padded[..., :5].any() and not padded[..., -5:].any() and padded[..., 5:-5].any((1, 2, 3)).all()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize(("channels", "of"), [(3, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("size", [(20, 12), (48, 48)])
def test_random_parts_come_at_the_input_and_follow_from_the_generator(size, channels, of, fit):
    images = at(size, held(of), channels, fit)
    first, _ = _shown(images, PARTS)
    assert first.shape == (20, channels, *size) and first.isfinite().all()
    assert torch.equal(first, _shown(images, PARTS)[0])
    assert not torch.equal(first, _shown(images, PARTS, seed=1)[0])
    if of == 1:
        assert torch.equal(first[:, 0], first[:, -1])  # what is grey stays grey


def test_augmenting_leaves_what_is_held_as_it_was():
    images = held()
    before = images.copy()
    for recipe in (PARTS, replace(PARTS, crop_scale=0.0, randaugment_ops=2)):
        _shown(at((40, 24), images), recipe)
        _shown(at((20, 12), images), recipe)
    assert np.array_equal(images, before)


def _shown(images: Batches, recipe, seed=0) -> tuple[torch.Tensor, np.ndarray]:
    """An epoch's images, and which they are."""
    batches = list(images.epoch(torch.arange(len(images)), recipe, torch.Generator().manual_seed(seed)))
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(labels, images.labels[order])
    return torch.cat([images for images, _ in batches]), order.numpy()


@pytest.mark.parametrize("rendered", [False, True])
def test_the_same_images_are_seen_at_another_input_on_the_same_memory(rendered):
    images = held(height=40, width=40)
    given = Rendered({(40, 40): images, (20, 20): images[:, :, ::2, ::2]}) if rendered else images
    large = Batches(given, np.arange(20) % 2, (0.4,) * 3, (0.2,) * 3, CPU, size=(40, 40), fit="pad")
    small = large.at((3, 20, 20))
    expected = Batches(given, np.arange(20) % 2, (0.4,) * 3, (0.2,) * 3, CPU, size=(20, 20), fit="pad")
    assert small.preprocessing == expected.preprocessing and large.at((3, 40, 40)) is large
    for (a, labels), (b, same) in zip(small.in_order(7), expected.in_order(7), strict=True):
        assert torch.equal(a, b) and torch.equal(labels, same)
    assert np.shares_memory(small.images.numpy(), given.arrays[20, 20] if rendered else images)


def test_few_images_are_of_all_classes_in_random_order():
    labels = np.arange(60) // 20
    images = Batches(np.zeros((60, 3, 8, 8), np.uint8), labels, (0.4,) * 3, (0.25,) * 3, CPU)
    _, found = images.few(30)
    assert found.bincount().tolist() == [10, 10, 10] and set(found[:10].tolist()) == {0, 1, 2}
    assert torch.equal(images.few(30)[1], found)
