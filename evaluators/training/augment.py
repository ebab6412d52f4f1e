"""Augmentations of a batch: random crop, flip, RandAugment, cutout, mixup; everything random follows from a generator."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Parts = list[tuple[float, Tensor]]


def crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each picture of [B, C, S, S] moved by its own offset of up to `padding` pixels in both directions, zeros outside."""
    if padding == 0:
        return images
    n, _, size, _ = images.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device)
    rows, columns = offsets + torch.arange(size, device=images.device)
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    picture = torch.arange(n, device=images.device)[:, None, None]
    return padded[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures mirrored left to right."""
    chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Each picture of [B, C, S, S] with a square of `side` pixels set to zero, its centre anywhere in the picture.

    The square may reach over the edge. DeVries and Taylor 2017, arXiv:1708.04552.
    """
    if side == 0:
        return images
    n, _, size, _ = images.shape
    starts = torch.randint(0, size, (2, n, 1), generator=generator).to(images.device) - side // 2
    pixels = torch.arange(size, device=images.device)
    rows, columns = (starts <= pixels) & (pixels < starts + side)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def mixup(images: Tensor, labels: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Parts]:
    """The batch mixed with itself in another order; and the labels with their shares, which sum to 1.

    One share for the batch, of the distribution Beta(alpha, alpha); 0 leaves the batch alone. Zhang et al. 2018,
    arXiv:1710.09412.
    """
    if alpha == 0:
        return images, [(1.0, labels)]
    share = float(np.random.default_rng(_seed(generator)).beta(alpha, alpha))
    order = torch.randperm(len(images), generator=generator).to(images.device)
    return images.lerp(images[order], 1 - share), [(share, labels), (1 - share, labels[order])]


def randaugment(ops: int, magnitude: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """RandAugment of uint8 pictures [B, C, S, S], each with operations of its own. Cubuk et al. 2019, arXiv:1909.13719."""
    from torchvision.transforms import v2

    transform = v2.RandAugment(ops, magnitude)

    def apply(images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator of the CPU
            torch.default_generator.manual_seed(_seed(generator))
            return torch.stack([transform(image) for image in images])

    return apply


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))
