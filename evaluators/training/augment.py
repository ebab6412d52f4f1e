"""Batch augmentation: crops, flip, colour, RandAugment, cutout, mixup; all randomness comes from a given generator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Parts = list[tuple[float, Tensor]]
_ASPECTS = (3 / 4, 4 / 3)  # aspect ratio of a random crop, relative to the input's
_LUMA = (0.2989, 0.587, 0.114)  # torchvision's


def random_resized_crop(
    images: Tensor, size: tuple[int, int], least: float, interpolation: str, generator: torch.Generator
) -> Tensor:
    """A random crop of each image of uint8 [B, C, h, w], resized to `size` (H, W), channels_last.

    The crop covers `least` (0..1) to 1 of the area; its aspect ratio is the input's times 3/4 to 4/3. Szegedy et al. 2014,
    arXiv:1409.4842, as in torchvision, antialiased.
    """
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    ratio = [size[1] / size[0] * bound for bound in _ASPECTS]
    out = torch.empty(len(images), images.shape[1], *size, dtype=torch.uint8).to(memory_format=torch.channels_last)
    with _torchs_own(generator):
        for image, place in zip(images, out, strict=True):
            top, left, height, width = RandomResizedCrop.get_params(image, [least, 1.0], ratio)
            part = image[None, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            place.copy_(
                resize(part, list(size), InterpolationMode(interpolation), antialias=True)[0]
            )  # three times as fast one by one
    return out


def crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Random crop: shifts each image of [B, C, H, W] by up to `padding` pixels in both directions, zero-padded."""
    if padding == 0:
        return images
    n, _, height, width = images.shape
    down, right = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device)
    rows, columns = (start + torch.arange(side, device=images.device) for start, side in ((down, height), (right, width)))
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    image = torch.arange(n, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flips each image of [B, C, H, W] horizontally with probability 1/2, in place."""
    for i in (torch.rand(len(images), generator=generator) < 0.5).nonzero().flatten().tolist():
        images[i] = images[i].flip(2)
    return images


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Cutout: zeroes a square of `side` pixels in each image of [B, C, H, W], centred anywhere in the image.

    The square may extend beyond the edge. DeVries and Taylor 2017, arXiv:1708.04552.
    """
    if side == 0:
        return images
    rows, columns = (_covered(len(images), length, side, generator).to(images.device) for length in images.shape[2:])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def colour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Jitters brightness, contrast and, for RGB, saturation of each image of float32 [B, C, H, W] in 0..1, in place.

    Three factors per image, 1 - `strength` to 1 + `strength`, drawn like torchvision's ColorJitter. Apart from clamping, the
    three commute and form one affine map; clamping to 0..1 is done once, at the end.
    """
    if strength == 0:
        return images
    factors = 1 - strength + 2 * strength * torch.rand(3, len(images), 1, 1, 1, generator=generator)
    brightness, contrast, saturation = factors.clamp(min=0).to(images.device)
    grey = images
    if images.shape[1] == 3:
        grey = torch.einsum("bchw,c->bhw", images, torch.tensor(_LUMA, device=images.device))[:, None]
    mean = grey.mean((2, 3), keepdim=True) * brightness * (1 - contrast)
    linear = brightness * contrast
    if images.shape[1] == 3:
        images.mul_(linear * saturation).add_(grey * (linear * (1 - saturation)) + mean)
    else:
        images.mul_(linear).add_(mean)
    return images.clamp_(0, 1)


def mixup(images: Tensor, labels: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Parts]:
    """Mixup: the batch mixed with a permutation of itself, and the labels with their weights, which sum to 1.

    One weight per batch, drawn from Beta(alpha, alpha); alpha 0 is off. Zhang et al. 2018, arXiv:1710.09412.
    """
    if alpha == 0:
        return images, [(1.0, labels)]
    share = float(np.random.default_rng(_seed(generator)).beta(alpha, alpha))
    order = torch.randperm(len(images), generator=generator).to(images.device)
    return images.lerp(images[order], 1 - share), [(share, labels), (1 - share, labels[order])]


def randaugment(ops: int, magnitude: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """RandAugment for uint8 images [B, C, H, W], drawn anew for each image. Cubuk et al. 2019, arXiv:1909.13719."""
    from torchvision.transforms import v2

    transform = v2.RandAugment(ops, magnitude)

    def apply(images: Tensor, generator: torch.Generator) -> Tensor:
        with _torchs_own(generator):
            return torch.stack([transform(image) for image in images])

    return apply


@contextmanager
def _torchs_own(generator: torch.Generator) -> Iterator[None]:
    """Seeds torch's global CPU generator, which torchvision uses, from `generator` within the context."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_seed(generator))
        yield


def _covered(count: int, length: int, side: int, generator: torch.Generator) -> Tensor:
    """Masks of `count` random spans of `side` pixels, centred anywhere on a line: bool [count, length]."""
    starts = torch.randint(0, length, (count, 1), generator=generator) - side // 2
    pixels = torch.arange(length)
    return (starts <= pixels) & (pixels < starts + side)


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))
