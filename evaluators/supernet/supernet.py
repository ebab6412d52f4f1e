"""Supernet: a single-path one-shot network over a search space, trained once; scores every genotype by shared weights."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.sgd import sgd

from evaluators.heap import keep_heap
from evaluators.supernet.paths import Sampling, paths
from evaluators.supernet.shared import initial, members, part, uses
from evaluators.training.augment import mixup
from evaluators.training.batches import Batches
from evaluators.training.kernels.fast import fast
from evaluators.training.loop import Epoch, accuracy, check_finite
from evaluators.training.precision import lowered
from evaluators.training.recipe import Recipe
from evaluators.training.schedule import class_weights, mean_rate, rate
from search_spaces.durable import replace_file
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build, build_block, with_inputs
from search_spaces.space import SearchSpace
from search_spaces.task import Task

_RECALIBRATION = 1000  # images to recalibrate a candidate's batch norms before scoring
_PROBES = 2  # genotypes whose mean accuracy is reported as the supernet's after an epoch


class Supernet:
    """Shared weights for every genotype of `space`, trained with one genotype per batch (arXiv:1904.00420).

    `trained` counts epochs. Training can resume from the saved state of any epoch with identical results, since all randomness
    comes from `seed` and the epoch number.
    """

    def __init__(self, space: SearchSpace, task: Task, seed: int, device: torch.device | None = None) -> None:
        self.space, self.task, self.trained = space, task, 0
        self._seed, self._device = seed, device or torch.device("cpu")
        tensors = initial(members(space, task), task.classes, seed)
        self.weights = {key: tensor.to(self._device) for key, tensor in tensors.items()}
        self._momentum = {key: torch.zeros_like(tensor) for key, tensor in self.weights.items()}
        self._class_weights: Tensor | None = None

    def train(self, train: Batches, validation: Batches, recipe: Recipe, sampling: Sampling = "fair") -> Iterator[Epoch]:
        """Trains up to `recipe.epochs`, yielding after each; an epoch's accuracy is the mean of two fixed genotypes.

        Batch norm uses batch statistics. Raises TrainingFailed when the loss is not finite, InputError for a recipe with an
        optimizer other than SGD.
        """
        if recipe.optimizer != "sgd":
            raise InputError(f"a supernet needs the optimizer sgd, but its recipe has {recipe.optimizer}")
        keep_heap()
        probes = [self.space.sample(random.Random(_seed_of("probe", self._seed, i))) for i in range(_PROBES)]
        while self.trained < recipe.epochs:
            start = perf_counter()
            loss, batches = self._epoch(self.trained + 1, train, recipe, sampling)
            self.trained += 1
            share = mean_rate(self.trained * batches, batches, recipe.epochs * batches, recipe.warmup)
            reached = mean(self.score(genotype, train, validation, recipe) for genotype in probes)
            yield Epoch(self.trained, loss, reached, perf_counter() - start, learning_rate=share * _learning_rate(recipe))

    def score(self, genotype: Genotype, train: Batches, validation: Batches, recipe: Recipe) -> float:
        """Top-1 validation accuracy (0..1) of a genotype with the shared weights, which are not modified.

        Images are at the genotype's own input. Batch norms are recalibrated on a fixed sample of training images. Raises
        InputError for a genotype outside the space.
        """
        network = self.network(genotype)
        task = self.task.of(genotype)
        recalibrate(network, train.at(task.input), recipe)
        return accuracy(network, validation.at(task.input))

    def network(self, genotype: Genotype) -> Network:
        """The genotype's network with a copy of its shared weights; raises InputError for a genotype outside the space."""
        network = build(genotype, self.task.of(genotype))
        with torch.no_grad():
            for _, key, parameter in uses(self.space, genotype, network.blocks):
                parameter.copy_(part(self.weights[key], parameter.shape))
        return network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def save(self, path: Path) -> None:
        """Writes weights, momentum and the number of epochs atomically; raises OSError."""
        from safetensors.torch import save

        replace_file(path, save(self._tensors(), {"epochs": str(self.trained)}))

    def load(self, path: Path) -> None:
        """Loads a file from `save`; raises InputError when it is damaged, or of another space or task."""
        from safetensors import SafetensorError, safe_open

        from search_spaces.weights import check_tensors

        try:
            with safe_open(path, "pt") as file:
                found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
                trained = int(file.metadata()["epochs"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as a supernet: {str(error).splitlines()[0]}") from None
        check_tensors(found, str(path))
        mine = self._tensors()
        if {key: tensor.shape for key, tensor in found.items()} != {key: tensor.shape for key, tensor in mine.items()}:
            raise InputError(f"{path}: a supernet for another space or number of classes")
        for key, tensor in mine.items():
            tensor.copy_(found[key])
        self.trained = trained

    def _tensors(self) -> dict[str, Tensor]:
        weights = {f"weights.{key}": tensor for key, tensor in self.weights.items()}
        return weights | {f"momentum.{key}": tensor for key, tensor in self._momentum.items()}

    def _epoch(self, number: int, train: Batches, recipe: Recipe, sampling: Sampling) -> tuple[float, int]:
        """Trains one epoch; returns the mean loss and the number of batches."""
        torch.manual_seed(_seed_of("dropout", self._seed, number))
        generator = torch.Generator().manual_seed(_seed_of("pictures", self._seed, number))
        genotypes = paths(self.space, sampling, random.Random(_seed_of("paths", self._seed, number)))
        among = train.share(recipe.share)
        self._class_weights = class_weights(train.labels) if recipe.class_weights else None
        batches = math.ceil(max(len(among), recipe.least_images) / recipe.batch_size)
        total, done = torch.zeros((), device=self._device), 0
        for batch in train.epoch(among, recipe, generator):
            share = rate((number - 1) * batches + done, recipe.epochs * batches, recipe.warmup)
            total += self._step(next(genotypes), batch, recipe, share, generator)
            done += 1
            if done % 16 == 0:
                check_finite(total, number, done)
        return check_finite(total, number, done) / done, done

    def _step(
        self, genotype: Genotype, batch: tuple[Tensor, Tensor], recipe: Recipe, share: float, generator: torch.Generator
    ) -> Tensor:
        """One SGD step on the genotype's slice of the weights, at `share` of the learning rate; returns the batch's loss.

        The batch's images are resized to the genotype's own input.
        """
        frame = self._frame(genotype)
        used = {name: (key, parameter.shape) for name, key, parameter in uses(self.space, genotype, frame.blocks)}
        parts: dict[str, Tensor] = {name: nn.Parameter(part(self.weights[key], shape)) for name, (key, shape) in used.items()}
        momentum = {name: part(self._momentum[key], shape) for name, (key, shape) in used.items()}
        images, shown = mixup(self._scaled(batch[0], genotype), batch[1], recipe.mixup, generator)
        with lowered(self._device, recipe.mixed_precision and self._device.type == "cpu"):  # not tested on CUDA
            logits = functional_call(fast(frame), parts, images)
        of_class, smoothing = self._class_weights, recipe.label_smoothing
        losses = [weight * F.cross_entropy(logits, of, of_class, label_smoothing=smoothing) for weight, of in shown]
        loss = torch.stack(losses).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        decaying = {name for name, tensor in parts.items() if tensor.dim() > 1}
        for names, decay in ((decaying, recipe.weight_decay), (parts.keys() - decaying, 0.0)):
            _descend([(parts[n], momentum[n]) for n in sorted(names)], recipe, share, decay)
        return loss.detach()

    def _scaled(self, images: Tensor, genotype: Genotype) -> Tensor:
        size = self.task.of(genotype).input[1:]
        if tuple(images.shape[2:]) == size:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True).contiguous(memory_format=torch.channels_last)

    def _frame(self, genotype: Genotype) -> Network:
        """The genotype's network in training mode; its own weights are ignored."""
        task = self.task.of(genotype)
        blocks = [build_block(spec, c_in, task.classes) for spec, c_in in with_inputs(genotype, task)]
        return Network(blocks, genotype).to(self._device)


@torch.no_grad()
def recalibrate(network: nn.Module, split: Batches, recipe: Recipe) -> None:
    """Resets batch-norm statistics to their mean over about a thousand augmented training images, always the same."""
    network.eval()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean over all batches
        norm.train()
    among = split.share(min(1.0, _RECALIBRATION / len(split)))
    for images, _ in split.epoch(among, replace(recipe, least_images=0), torch.Generator().manual_seed(0)):
        network(images)
    network.eval()


@torch.no_grad()
def _descend(weights: list[tuple[Tensor, Tensor]], recipe: Recipe, share: float, decay: float) -> None:
    """One in-place SGD step on weights with gradients, each with its momentum."""
    used = [(weight, weight.grad, momentum) for weight, momentum in weights if weight.grad is not None]
    sgd(
        [weight for weight, _, _ in used],
        [gradient for _, gradient, _ in used],
        [momentum for _, _, momentum in used],
        foreach=False,  # weights are views of larger tensors
        weight_decay=decay,
        momentum=recipe.momentum,
        lr=share * _learning_rate(recipe),
        dampening=0.0,
        nesterov=recipe.momentum > 0,
        maximize=False,
    )


def _learning_rate(recipe: Recipe) -> float:
    """The highest learning rate, for batches of the recipe's size."""
    return recipe.learning_rate * recipe.batch_size / 128


def _seed_of(*parts: object) -> int:
    """A seed derived from the parts."""
    return random.Random(repr(parts)).getrandbits(32)
