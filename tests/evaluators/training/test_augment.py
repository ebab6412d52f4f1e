"""Augmentations against naive ones, image by image; and that all of them follow from the generator alone."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from evaluators.training import augment


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n=40, height=8, width=8):
    return torch.randn(n, 3, height, width, generator=seeded(9))


def test_crop_and_flip_move_and_mirror_each_image_on_its_own():
    original, generator = noise(width=6), seeded(1)
    images = augment.flip(augment.crop(original, 2, generator), generator)
    padded = torch.nn.functional.pad(original, (2, 2, 2, 2))
    moves = []
    for i, image in enumerate(images):
        for flipped in (False, True):
            looked_for = image.flip(-1) if flipped else image
            places = [(dy, dx) for dy in range(5) for dx in range(5)]
            moves += [(*p, flipped) for p in places if torch.equal(padded[i, :, p[0] : p[0] + 8, p[1] : p[1] + 6], looked_for)]
    assert len(moves) == 40 and len(set(moves)) > 15


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("channels", "size"), [(3, (8, 8)), (1, (20, 12)), (3, (30, 40))])
def test_random_parts_are_those_of_torchvisions_random_resized_crop(channels, size, interpolation):
    images = torch.randint(0, 256, (20, channels, 25, 15), dtype=torch.uint8, generator=seeded())
    found = augment.random_resized_crop(images, size, 0.3, interpolation, seeded(1))
    assert found.is_contiguous(memory_format=torch.channels_last)
    ratio = (3 / 4 * size[1] / size[0], 4 / 3 * size[1] / size[0])
    theirs = v2.RandomResizedCrop(size, (0.3, 1.0), ratio, v2.InterpolationMode(interpolation), antialias=True)
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (), generator=seeded(1))))
        expected = torch.stack([theirs(image) for image in images])
    assert torch.equal(found, expected)


def test_parts_show_their_share_of_the_area_in_about_the_aspect_of_the_input():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(40), indexing="ij")
    places = (torch.stack([rows, columns, rows]) * 3).to(torch.uint8).expand(300, -1, -1, -1)
    shown = augment.random_resized_crop(places, (16, 10), 0.5, "bilinear", seeded()).float() / 3
    height, width = (shown[:, i].amax((1, 2)) - shown[:, i].amin((1, 2)) for i in (0, 1))
    area, aspect = (height * 16 / 15) * (width * 10 / 9) / (64 * 40), (width * 10 / 9) / (height * 16 / 15)
    assert 0.47 < float(area.min()) < 0.53 and 0.9 < float(area.max()) < 1.05  # as far as 16 x 10 pixels tell
    assert 0.68 < float(aspect.min() * 16 / 10) < 0.85 and 1.2 < float(aspect.max() * 16 / 10) < 1.45


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_altered_as_by_torchvision_each_image_by_its_own_factors(channels):
    images = 0.35 + 0.3 * torch.rand(20, channels, 9, 7, generator=seeded())  # so that nothing is clamped on the way
    found = augment.colour(images.clone(), 0.2, seeded(1))
    factors = 0.8 + 0.4 * torch.rand(3, 20, 1, 1, 1, generator=seeded(1)).flatten(1)
    assert len(factors.flatten().unique()) == 60
    for image, altered, (brightness, contrast, saturation) in zip(images, found, factors.T.tolist(), strict=True):
        for order in permutations(
            [
                lambda x, f=brightness: v2.functional.adjust_brightness(x, f),
                lambda x, f=contrast: v2.functional.adjust_contrast(x, f),
                lambda x, f=saturation: v2.functional.adjust_saturation(x, f) if channels == 3 else x,
            ]
        ):
            expected = order[2](order[1](order[0](image)))
            torch.testing.assert_close(altered, expected, atol=1e-5, rtol=0)  # float32; torchvision's grey to four digits


def test_colours_stay_in_range():
    images = augment.colour(torch.randint(0, 2, (50, 3, 4, 4), generator=seeded()).float(), 1.0, seeded())
    assert float(images.min()) == 0 and float(images.max()) == 1


@given(side=st.integers(1, 10), height=st.integers(8, 12), width=st.integers(8, 12), seed=st.integers(0, 1000))
def test_cutout_leaves_out_one_square_a_image_whose_centre_is_in_it(side, height, width, seed):
    images = augment.cutout(torch.ones(16, 3, height, width), side, seeded(seed))
    for image in images:
        gone = image == 0
        assert torch.equal(gone[0], gone[1]) and torch.equal(gone[0], gone[2])
        rows, columns = gone[0].any(1).nonzero().ravel(), gone[0].any(0).nonzero().ravel()
        assert int(gone[0].sum()) == len(rows) * len(columns)  # a filled rectangle
        for span, size in ((rows, height), (columns, width)):
            touches = int(span[0]) == 0 or int(span[-1]) == size - 1
            assert len(span) == side or (touches and side // 2 <= len(span) <= min(side, size))


def test_cutout_hits_every_pixel_about_equally_often_inside():
    gone = (augment.cutout(torch.ones(20000, 1, 8, 8), 2, seeded()) == 0).float().mean(0)[0]
    inside = gone[:7, :7]  # the last row and column are reached by one position less
    assert float(inside.min()) > 0.055 and float(inside.max()) < 0.07  # 4 of 64


def test_mixup_mixes_images_and_shares_of_labels_alike():
    images, labels = noise(32), torch.arange(32)
    mixed, [(share, own), (rest, others)] = augment.mixup(images, labels, 0.4, seeded(3))
    assert share + rest == pytest.approx(1) and 0 < share < 1 and torch.equal(own, labels)
    torch.testing.assert_close(mixed, share * images + rest * images[others])
    assert sorted(others.tolist()) == labels.tolist() != others.tolist()


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixups_shares_have_the_moments_of_its_distribution(alpha):
    generator, one = seeded(), torch.zeros(2, 1, 1, 1)
    shares = np.array([augment.mixup(one, torch.arange(2), alpha, generator)[1][0][0] for _ in range(3000)])
    deviation = 0.5 / (2 * alpha + 1) ** 0.5
    assert abs(shares.mean() - 0.5) < 4 * deviation / 3000**0.5
    assert shares.std() == pytest.approx(deviation, rel=0.06)


def test_randaugment_is_torchvisions_with_operations_of_its_own_for_each_image():
    images = torch.randint(0, 256, (1, 3, 8, 8), generator=seeded(), dtype=torch.uint8).expand(64, -1, -1, -1)
    altered = augment.randaugment(2, 9)(images, seeded(1))
    assert altered.dtype == torch.uint8 and altered.shape == images.shape
    assert len({tuple(image.ravel().tolist()) for image in altered}) > 30
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (), generator=seeded(1))))
        transform = v2.RandAugment(2, 9)
        assert torch.equal(altered, torch.stack([transform(image) for image in images]))


ALL = {
    "crop": lambda images, generator: augment.crop(images, 2, generator),
    "parts": lambda images, generator: augment.random_resized_crop(
        (images * 50 + 128).to(torch.uint8), (8, 8), 0.2, "bilinear", generator
    ),
    "colour": lambda images, generator: augment.colour(images.sigmoid(), 0.3, generator),
    "flip": augment.flip,
    "cutout": lambda images, generator: augment.cutout(images, 3, generator),
    "mixup": lambda images, generator: augment.mixup(images, torch.arange(len(images)), 0.5, generator)[0],
    "randaugment": lambda images, generator: augment.randaugment(1, 9)((images * 50 + 128).to(torch.uint8), generator),
}


@pytest.mark.parametrize("name", ALL)
def test_the_generator_decides_alone_and_the_global_one_is_left_as_it_was(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = ALL[name](noise(), seeded(4))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, ALL[name](noise(), seeded(4)))
    assert not torch.equal(first, ALL[name](noise(), seeded(5)))


def test_off_is_off():
    images, labels = noise(), torch.arange(40)
    assert augment.crop(images, 0, seeded()) is images and augment.cutout(images, 0, seeded()) is images
    same, parts = augment.mixup(images, labels, 0.0, seeded())
    assert augment.colour(images, 0.0, seeded()) is images
    assert same is images and parts == [(1.0, labels)]
