"""Batches from pictures held in memory: batched crop and flip, normalised, channels_last."""

import math
import warnings
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Pictures:
    """A split as tensors that share memory with its arrays.

    `images` uint8 [N, C, S, S] in channels_last order, `labels` int64 [N]; `mean`, `std` per channel of pixels in 0..1.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
    ) -> None:
        self.images = _share(images).to(device)
        self.labels = _share(labels).to(device)
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(std, device=device).view(1, -1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def share(self, share: float) -> Tensor:
        """Indices [M] of a share of the pictures of each class, at least one, always the same ones."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        labels = self.labels.cpu()[order]
        parts = [order[labels == label] for label in labels.unique()]
        return torch.cat([part[: max(1, round(share * len(part)))] for part in parts])

    def epoch(
        self, among: Tensor, least: int, batch_size: int, crop_padding: float, flip: bool, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented (images [B, C, S, S] float32, labels [B]) of the pictures with the indices `among`, in random order.

        Fewer than `least` pictures are shown again, in another order, up to that number. A last single picture is left out.
        """
        rounds = max(1, math.ceil(least / len(among)))
        order = torch.cat([among[torch.randperm(len(among), generator=generator)] for _ in range(rounds)])
        order = order[: max(least, len(among))]
        for chosen in order.split(batch_size):
            if len(chosen) > 1:  # batch norm cannot train on one picture
                images = self.images[chosen.to(self.images.device)]
                images = _crop(self.normalise(images), round(crop_padding * images.shape[-1]), generator)
                if flip:
                    images = _flip(images, generator)
                yield images.contiguous(memory_format=torch.channels_last), self.labels[chosen.to(self.labels.device)]

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) as they are, for evaluation."""
        for start in range(0, len(self), batch_size):
            stop = start + batch_size
            images = self.normalise(self.images[start:stop])
            yield images.contiguous(memory_format=torch.channels_last), self.labels[start:stop]

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 pictures to float32 of mean 0 and standard deviation 1 per channel."""
        return (images.float() / 255 - self._mean) / self._std


def _share(array: np.ndarray) -> Tensor:
    """A tensor on the array's own memory; an array from Ray's object store is read-only, and so is every use of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each picture moved by its own offset of up to `padding` pixels in both directions, zeros outside."""
    if padding == 0:
        return images
    n, _, size, _ = images.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device)
    rows, columns = offsets + torch.arange(size, device=images.device)
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    picture = torch.arange(n, device=images.device)[:, None, None]
    return padded[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
