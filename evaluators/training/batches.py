"""Batches from pictures in memory or in files: augmented as a recipe says, normalised, channels_last."""

import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from evaluators.data._files import Files
from evaluators.data._stream import stream
from evaluators.training import augment
from evaluators.training.recipe import Recipe


class Pictures:
    """A split as tensors that share memory with its arrays; pictures in files are read whenever they are shown.

    `images` uint8 [N, C, S, S] in channels_last order, `labels` int64 [N]; `mean`, `std` per channel of pixels in 0..1.
    """

    def __init__(
        self,
        images: np.ndarray | Files,
        labels: np.ndarray,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
    ) -> None:
        self.images = images if isinstance(images, Files) else _share(images).to(device)
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

    def epoch(self, among: Tensor, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented (images [B, C, S, S] float32, labels [B]) of the pictures with the indices `among`, in random order.

        Fewer than the recipe's `least_pictures` are shown again, in another order, up to that number. A last single picture
        is left out. Mixup is not done here: it is of pictures and labels.
        """
        alter = augment.randaugment(recipe.randaugment_ops, recipe.randaugment_magnitude) if recipe.randaugment_ops else None
        batches = _order(among, recipe.least_pictures, generator).split(recipe.batch_size)
        for images, labels in self._read([b for b in batches if len(b) > 1]):  # batch norm cannot train on one picture
            images = self.normalise(alter(images, generator) if alter else images)
            images = augment.crop(images, round(recipe.crop_padding * images.shape[-1]), generator)
            if recipe.flip:
                images = augment.flip(images, generator)
            images = augment.cutout(images, round(recipe.cutout * images.shape[-1]), generator)
            yield images.contiguous(memory_format=torch.channels_last), labels

    def in_order(self, batch_size: int, among: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) as they are, for evaluation; of all images, or of those with the indices `among`."""
        for images, labels in self._read((torch.arange(len(self)) if among is None else among).split(batch_size)):
            yield self.normalise(images).contiguous(memory_format=torch.channels_last), labels

    def few(self, count: int) -> tuple[Tensor, Tensor]:
        """(images, labels) of about `count` pictures, as many of each class as it has a share of all; always the same ones."""
        images, labels = next(iter(self._read([self.share(count / len(self))])))
        return self.normalise(images).contiguous(memory_format=torch.channels_last), labels

    def _read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(images uint8, labels) of `batches`, indices [B] each; as many processes read files as torch has threads."""
        if isinstance(self.images, Files):
            pictures = stream(self.images, batches, torch.get_num_threads())
        else:
            pictures = map(self.images.__getitem__, (b.to(self.images.device) for b in batches))
        for chosen, images in zip(batches, pictures, strict=True):
            yield images.to(self.labels.device), self.labels[chosen.to(self.labels.device)]

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 pictures to float32 of mean 0 and standard deviation 1 per channel."""
        return (images.float() / 255 - self._mean) / self._std


def _share(array: np.ndarray) -> Tensor:
    """A tensor on the array's own memory; an array from Ray's object store is read-only, and so is every use of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _order(among: Tensor, least: int, generator: torch.Generator) -> Tensor:
    """The indices in random order, in as many rounds as it takes to come to `least`."""
    rounds = max(1, math.ceil(least / len(among)))
    order = torch.cat([among[torch.randperm(len(among), generator=generator)] for _ in range(rounds)])
    return order[: max(least, len(among))]
