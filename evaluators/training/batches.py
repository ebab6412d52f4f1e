"""Batches at a network's input, from memory or files: augmented by a recipe, normalised, channels_last."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from evaluators.data._files import Files
from evaluators.data._render import Rendered, empty
from evaluators.data._stream import stream
from evaluators.data.dataset import Split
from evaluators.data.preprocess import Fit, Interpolation, Preprocessing
from evaluators.training import augment
from evaluators.training.recipe import Recipe
from search_spaces.task import Input


class Batches:
    """A split at a network's input; shares memory with arrays, reads files on each use.

    `size` is the input's (height, width), by default the images'; `mean` and `std` are of pixels in 0..1, with one value per
    channel of the input; `fit`, `interpolation` and `depth` are as in evaluators.data.preprocess. Images held at another size
    are resized batch by batch. `labels` are int64 [N].
    """

    def __init__(
        self,
        images: np.ndarray | Rendered | Files,
        labels: np.ndarray,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        *,
        size: tuple[int, int] | None = None,
        fit: Fit = "crop",
        interpolation: Interpolation = "bilinear",
        depth: int = 16,
    ) -> None:
        height, width = size or _own_size(images)
        self.preprocessing = Preprocessing((len(mean), height, width), fit, interpolation, mean, std, depth=depth)
        self._held = images
        found = images if isinstance(images, np.ndarray) else images.at(self.preprocessing)
        self.images = found if isinstance(found, Files) else _share(found)
        self.labels = _share(labels).to(device)
        self._mean, self._std = (self._for_each_pixel(values) for values in (mean, std))

    @classmethod
    def of(cls, split: Split, how: Preprocessing, device: torch.device) -> "Batches":
        """The split with the preprocessing `how`."""
        ways = {"size": how.input[1:], "fit": how.fit, "interpolation": how.interpolation, "depth": how.depth}
        return cls(split.images, split.labels, how.mean, how.std, device, **ways)  # type: ignore[arg-type]

    def at(self, input: Input) -> "Batches":
        """The same images, without copying, for a network with another input."""
        how = self.preprocessing
        if input == how.input:
            return self
        labels, how = self.labels.cpu().numpy(), replace(how, input=input)
        return Batches.of(Split(self._held, labels), how, self.labels.device)

    def __len__(self) -> int:
        return len(self.labels)

    def share(self, share: float) -> Tensor:
        """Indices [M] of a stratified share of the images, at least one per class; always the same."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        labels = self.labels.cpu()[order]
        parts = [order[labels == label] for label in labels.unique()]
        return torch.cat([part[: max(1, round(share * len(part)))] for part in parts])

    def epoch(self, among: Tensor, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented (images [B, C, H, W] float32, labels [B]) of the images at indices `among`, in random order.

        Fewer images than the recipe's `least_images` are repeated up to that number, in a new order. A final batch of one
        image is dropped. Mixup is not applied here, as it mixes labels too.
        """
        batches = _order(among, recipe.least_images, generator).split(recipe.batch_size)
        for images, labels in self._read([b for b in batches if len(b) > 1]):  # batch norm cannot train on a single image
            images = self._augmented(self._shown(images, recipe, generator), recipe, generator)
            yield images.contiguous(memory_format=torch.channels_last), labels

    def in_order(self, batch_size: int, among: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) in order, without augmentation, preprocessed exactly as in deployment.

        All images, or those at indices `among`.
        """
        for images, labels in self._read((torch.arange(len(self)) if among is None else among).split(batch_size)):
            yield self._as_deployed(images), labels

    def few(self, count: int) -> tuple[Tensor, Tensor]:
        """(images, labels) of a stratified sample of about `count` images; always the same.

        They are in random order, so that any slice represents all classes.
        """
        among = self.share(count / len(self))
        order = torch.randperm(len(among), generator=torch.Generator().manual_seed(0))
        images, labels = next(iter(self._read([among[order]])))
        return self._as_deployed(images), labels

    def normalise(self, images: Tensor) -> Tensor:
        """Normalises uint8 images to float32 of mean 0 and standard deviation 1 per channel."""
        return (images.float() / 255 - self._mean) / self._std

    def _for_each_pixel(self, values: tuple[float, ...]) -> Tensor:
        """Per-channel values expanded to [1, C, H, W], channels_last: eight times as fast as broadcasting [1, C, 1, 1]."""
        each = torch.tensor(values, device=self.labels.device).view(1, -1, 1, 1).expand(1, *self.preprocessing.input)
        return each.contiguous(memory_format=torch.channels_last)

    def _read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(images as stored, uint8 on the CPU, labels) of `batches` of indices [B].

        Files are read by as many processes as torch has threads.
        """
        if isinstance(self.images, Files):
            found = stream(self.images, batches, torch.get_num_threads())
        else:
            channels_last = self.images.permute(0, 2, 3, 1)  # the memory order, so that each image is one contiguous copy
            found = (channels_last.index_select(0, chosen).permute(0, 3, 1, 2) for chosen in batches)
        for chosen, images in zip(batches, found, strict=True):
            yield images, self.labels[chosen.to(self.labels.device)]

    def _as_deployed(self, images: Tensor) -> Tensor:
        """Stored images, resized one by one if they have another size, and normalised."""
        how = self.preprocessing
        if images.shape[2:] != how.input[1:]:
            fitted = empty(len(images), how)
            for place, image in zip(fitted, images.permute(0, 2, 3, 1).numpy(), strict=True):
                place[:] = how.pixels(Image.fromarray(image.squeeze())).transpose(2, 0, 1)
            images = torch.from_numpy(fitted)
        return self.normalise(images.to(self.labels.device)).contiguous(memory_format=torch.channels_last)

    def _shown(self, images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
        """Stored images, cropped or resized to the input and flipped: uint8 [B, C, H, W]."""
        channels, height, width = self.preprocessing.input
        if recipe.crop_scale:
            size = (height, width)
            images = augment.random_resized_crop(images, size, recipe.crop_scale, self.preprocessing.interpolation, generator)
        elif images.shape[2:] != (height, width):
            images = _fitted(images, self.preprocessing)
        if recipe.flip:
            images = augment.flip(images, generator)
        return images.to(self.labels.device).expand(-1, channels, -1, -1)

    def _augmented(self, images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
        """Applies the recipe's other augmentations to uint8 images of the input's size, and normalises."""
        side = min(images.shape[2:])
        if recipe.randaugment_ops:
            images = augment.randaugment(recipe.randaugment_ops, recipe.randaugment_magnitude)(images, generator)
        images = augment.colour(images.float().div_(255), recipe.colour, generator).sub_(self._mean).div_(self._std)
        images = augment.crop(images, round(recipe.crop_padding * side), generator)
        return augment.cutout(images, round(recipe.cutout * side), generator)


def _own_size(images: np.ndarray | Rendered | Files) -> tuple[int, int]:
    assert isinstance(images, np.ndarray), "images at several inputs have no single size"
    return images.shape[2], images.shape[3]


def _fitted(images: Tensor, how: Preprocessing) -> Tensor:
    """`how.pixels` for a whole batch, within one grey level: torch interpolates with 16-bit weights, PIL with 32."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import crop, resize

    rows, columns, top, left = how.placed(images.shape[2], images.shape[3])
    images = resize(images, [rows, columns], InterpolationMode(how.interpolation), antialias=True)
    return crop(images, top, left, how.input[1], how.input[2])


def _share(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory; arrays from Ray's object store are read-only, and nothing writes to them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _order(among: Tensor, least: int, generator: torch.Generator) -> Tensor:
    """The indices in random order, repeated until there are at least `least`."""
    rounds = max(1, math.ceil(least / len(among)))
    order = torch.cat([among[torch.randperm(len(among), generator=generator)] for _ in range(rounds)])
    return order[: max(least, len(among))]
