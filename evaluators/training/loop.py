"""The training loop: one epoch at a time, so that whoever runs it can stop it early."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.training.batches import Pictures
from evaluators.training.recipe import Recipe
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build
from search_spaces.task import Task


class TrainingFailed(Exception):
    """This network cannot be trained by this recipe; the message says why."""


@dataclass(frozen=True)
class Epoch:
    """After epoch `number` (from 1): mean training loss, top-1 accuracy on the validation part (0..1), seconds it took."""

    number: int
    loss: float
    accuracy: float
    seconds: float


def epochs(
    network: nn.Module,
    train: Pictures,
    validation: Pictures,
    recipe: Recipe,
    count: int,
    generator: torch.Generator,
    share: float = 1.0,
) -> Iterator[Epoch]:
    """Trains `network` in place for `count` epochs on a share of each class, yielding after each epoch.

    Raises TrainingFailed when the loss is not finite.
    """
    optimizer = _optimizer(network, recipe)
    among = train.share(share)
    steps = count * math.ceil(max(len(among), recipe.least_pictures) / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, recipe.warmup))
    for number in range(1, count + 1):
        start = perf_counter()
        network.train()
        total = torch.zeros((), device=train.labels.device)
        batches = 0
        shown = train.epoch(among, recipe.least_pictures, recipe.batch_size, recipe.crop_padding, recipe.flip, generator)
        for images, labels in shown:
            loss = F.cross_entropy(network(images), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.detach()
            batches += 1
            if batches % 16 == 0:
                _check_finite(total, number, batches)
        mean = _check_finite(total, number, batches) / max(batches, 1)
        yield Epoch(number, mean, accuracy(network, validation), perf_counter() - start)


def accuracy(network: nn.Module, pictures: Pictures, batch_size: int = 250) -> float:
    """Top-1 accuracy, 0..1."""
    network.eval()
    with torch.inference_mode():
        hits = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in pictures.in_order(batch_size))
    return hits / len(pictures)


def seeded_network(genotype: Genotype, task: Task, seed: int, device: torch.device) -> tuple[Network, torch.Generator]:
    """The untrained network and the generator of its batches; both follow from the seed alone."""
    torch.manual_seed(seed)
    network = build(genotype, task).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, torch.Generator().manual_seed(seed)


def training_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _check_finite(total: Tensor, epoch: int, batches: int) -> float:
    value = float(total)
    if not math.isfinite(value):
        raise TrainingFailed(f"the loss was {value} in epoch {epoch}, by batch {batches}")
    return value


def _rate(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at a step: linear up over the warm-up, then half a cosine down to zero."""
    up = max(1, round(warmup * steps))
    if step < up:
        return (step + 1) / up
    return 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up)))


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
            (weights if decays else others).append(parameter)
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate * recipe.batch_size / 128,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
