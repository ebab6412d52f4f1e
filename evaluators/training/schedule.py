"""What each step of a training gets: its learning rate, each epoch its images, each image its weight."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from evaluators.training.batches import Batches
from evaluators.training.recipe import Recipe


def rate(step: int, steps: int, warmup: float) -> float:
    """The learning rate factor at a step: linear warm-up, then cosine decay to zero."""
    up = max(1, round(warmup * steps))
    if step < up:
        return (step + 1) / up
    return 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up)))


def mean_rate(end: int, count: int, steps: int, warmup: float) -> float:
    """The mean of the factor over the `count` steps before step `end`."""
    return sum(rate(step, steps, warmup) for step in range(end - count, end)) / max(count, 1)


def shown(train: Batches, recipe: Recipe) -> Callable[[int], Tensor]:
    """The function from epoch number (from 1) to indices of its training images: the recipe's share, at most `most_images`.

    If there are more, each epoch continues where the last one ended, in an order in which every stretch is stratified by
    class.
    """
    among, most = train.share(recipe.share), recipe.most_images
    if not 0 < most < len(among):
        return lambda number: among
    labels = train.labels.cpu()[among]
    place = torch.empty(len(among), dtype=torch.float64)
    for label in labels.unique():
        (of,) = torch.where(labels == label)
        place[of] = (torch.arange(len(of)) + 0.5).double() / len(of)
    spread = among[place.argsort(stable=True)]
    return lambda number: spread[torch.arange((number - 1) * most, number * most) % len(spread)]


def class_weights(labels: Tensor) -> Tensor:
    """The weight in the loss of each class: the mean number of images of a class over its own; labels int64 [N]."""
    counts = labels.bincount().clamp(min=1)
    return len(labels) / (len(counts) * counts.float())
