"""The training loop, one epoch at a time, so that the caller can stop early."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from time import perf_counter
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.heap import keep_heap
from evaluators.quantise import Quantisation, weight_bits
from evaluators.training.augment import Parts, mixup
from evaluators.training.average import averaged
from evaluators.training.batches import Batches
from evaluators.training.deployed import deployed
from evaluators.training.distill import distilled
from evaluators.training.groups import optimizer_of
from evaluators.training.kept import Kept, kept_count
from evaluators.training.kernels.fast import fast
from evaluators.training.metrics import Scores, evaluate
from evaluators.training.precision import lowered, scaler
from evaluators.training.recipe import Metric, Recipe
from evaluators.training.schedule import class_weights, mean_rate, rate, shown
from evaluators.training.surgery import Surgery
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build, classifier
from search_spaces.task import Task

LOST = 0.01
"""Accuracy that a network may lose by quantisation before it is fine-tuned for it."""

_MOST_PIXELS = 2**20  # pixels per backward pass


class TrainingFailed(Exception):
    """The network cannot be trained with this recipe; the message says why."""


@dataclass(frozen=True)
class Epoch:
    """Results of epoch `number` (from 1): mean training loss, validation accuracy (0..1), seconds.

    `accuracy` is by the training's metric; `scores` has every metric by name; `learning_rate` is the mean of the highest one.
    """

    number: int
    loss: float
    accuracy: float
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0


class Training:
    """Trains a network epoch by epoch; `state` and `restore` resume it in another process with identical results.

    `network` is trained in place, with fast layers (evaluators.training.kernels). If the recipe averages weights, it holds the
    averaged ones after the last epoch. `teacher`, in eval mode, is for distillation (evaluators.training.distill). `metric` is
    what epochs report as accuracy; with `quantisation`, of the quantised network. With `recovers`, a network that loses more
    than LOST by that is fine-tuned for one more epoch with fake quantisation, and the better of the two is kept. The recipe may
    freeze blocks among the first `ready`. All randomness comes from `generator` and torch's global generator (dropout).

    `surgery` is the recipe's (evaluators.training.surgery). With one, `network` is the opened network, and the attribute
    `network` is the closed one after the last epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        train: Batches,
        validation: Batches,
        recipe: Recipe,
        generator: torch.Generator,
        *,
        teacher: nn.Module | None = None,
        metric: Metric = "top1",
        ready: int = 0,
        quantisation: Quantisation | None = None,
        recovers: bool = False,
        surgery: Surgery[Any] | None = None,
    ) -> None:
        keep_heap()
        self.network, self.recipe = fast(network), recipe
        self._surgery = surgery
        if surgery:
            surgery.attach(cast(Network, network))
        self.history: list[Epoch] = []
        self._train, self._validation, self._generator = train, validation, generator
        self._teacher = fast(teacher) if teacher else None
        self._metric: Metric = metric
        self._quantisation, self._recovers = quantisation, recovers
        self._among = shown(train, recipe)
        self._weights = class_weights(train.labels) if recipe.class_weights else None
        self._count = kept_count(network, recipe.kept_stride, ready) if isinstance(network, Network) else 0
        self._kept: Kept | None = None
        self._steps = steps = recipe.epochs * math.ceil(max(len(self._among(1)), recipe.least_images) / recipe.batch_size)
        self._optimizer = optimizer_of(network, recipe)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: rate(step, steps, recipe.warmup))
        self._averaged = averaged(network, recipe.ema) if recipe.ema else None
        self._scaler = scaler(train.labels.device, recipe.mixed_precision)

    @property
    def finished(self) -> bool:
        return len(self.history) == self.recipe.epochs

    def epoch(self) -> Epoch:
        """Trains for one epoch; raises TrainingFailed when the loss is not finite."""
        start, number = perf_counter(), len(self.history) + 1
        self.network.train()
        if self._count:
            self._kept = Kept(cast(Network, self.network), self._count, self.recipe.mixed_precision)
        total = torch.zeros((), device=self._train.labels.device)
        batches = 0
        for images, labels in self._train.epoch(self._among(number), self.recipe, self._generator):
            total += self._step(images, labels)
            batches += 1
            if batches % 16 == 0:
                check_finite(total, number, batches)
        mean = check_finite(total, number, batches) / max(batches, 1)
        if number == self.recipe.epochs:
            self._close()
        judged = self._averaged.module if self._averaged and number < self.recipe.epochs else self.network
        scores = asdict(self._judged(judged, number, self._quantisation))
        factor = mean_rate(self._schedule.last_epoch, batches, self._steps, self.recipe.warmup)
        rates = float(max(self._schedule.base_lrs)) * factor
        self.history.append(Epoch(number, mean, scores[self._metric], perf_counter() - start, scores, rates))
        if self.finished and self._recovers and self._quantisation is not None:
            self._recover(self.history[-1], weight_bits(self._quantisation.quantiser))
        return self.history[-1]

    @property
    def _progress(self) -> float:
        """The share of all steps that are done."""
        return self._schedule.last_epoch / self._steps  # type: ignore[no-any-return]

    def _close(self) -> None:
        """The network as it remains: with averaged weights, and without what surgery masked."""
        if self._averaged:
            self.network.load_state_dict(self._averaged.module.state_dict())
        if self._surgery:
            self.network = self._surgery.closed(cast(Network, self.network))

    def _recover(self, last: Epoch, bits: int) -> None:
        """Fine-tune with weights of `bits` bits if int8 loses accuracy, and keep the better weights and scores."""
        start = perf_counter()
        plain = asdict(self._judged(self.network, last.number, None))
        if plain[self._metric] - last.accuracy <= LOST:
            return
        from evaluators.training.fake_quantised import fine_tune  # imports torch's quantisation

        among, (_, height, width) = self._among(last.number + 1), self._train.preprocessing.input
        size = min(self.recipe.batch_size, max(2, _MOST_PIXELS // (2 * height * width)))  # every map is kept twice
        steps = math.ceil(max(len(among), self.recipe.least_images) / size)
        batches = self._train.epoch(among, replace(self.recipe, batch_size=size), self._generator)
        found = fine_tune(self.network, batches, steps, bits)
        scores = asdict(self._judged(found, last.number, self._quantisation))
        seconds = last.seconds + perf_counter() - start
        if scores[self._metric] > last.accuracy:
            self.network.load_state_dict(found.state_dict())
            last = replace(last, accuracy=scores[self._metric], scores=scores)
        self.history[-1] = replace(last, seconds=seconds)

    def _judged(self, judged: nn.Module, number: int, quantisation: Quantisation | None) -> Scores:
        """Scores on the recipe's number of validation images for this epoch; on a CPU and in int8, of the exported file."""
        most = self.recipe.most_validated
        few = 0 < most < len(self._validation) and not 1 < number == self.recipe.epochs
        among = self._validation.share(most / len(self._validation)) if few else None
        float_on_gpu = quantisation is None and self._validation.labels.device.type != "cpu"
        if not isinstance(judged, Network) or float_on_gpu:
            return evaluate(judged, self._validation, among=among)
        task = Task(self._validation.preprocessing.input, len(classifier(judged).weight))
        return deployed(judged, task, self._validation, torch.get_num_threads(), among, quantisation=quantisation).scores

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights by name, averaged ones under `averaged.`; and the remaining state as plain types and tensors."""
        weights = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self._averaged:
            weights |= {f"averaged.{name}": tensor for name, tensor in self._averaged.state_dict().items()}
        return weights, {
            "history": [asdict(epoch) for epoch in self.history],
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "generator": self._generator.get_state(),
            "global_generator": torch.get_rng_state(),
            "masks": self._surgery.masks if self._surgery else {},
        }

    def restore(self, weights: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Restores a `state` of a training of the same network and recipe."""
        if self._surgery:
            self._surgery.masks = rest["masks"]
            if len(rest["history"]) == self.recipe.epochs:
                self.network = self._surgery.closed(cast(Network, self.network))
        self.network.load_state_dict(_under("network.", weights))
        if self._averaged:
            self._averaged.load_state_dict(_under("averaged.", weights))
        self.history = [Epoch(**epoch) for epoch in rest["history"]]
        self._optimizer.load_state_dict(rest["optimizer"])
        self._schedule.load_state_dict(rest["schedule"])
        self._scaler.load_state_dict(rest["scaler"])
        self._generator.set_state(rest["generator"])
        torch.set_rng_state(rest["global_generator"])

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimizer step; returns the batch's loss."""
        images, shown = mixup(images, labels, self.recipe.mixup, self._generator)
        self._optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=labels.device)
        progress = self._progress
        if self._surgery:
            self._surgery.before(cast(Network, self.network), progress)
        begun = self._kept(images) if self._kept else images
        for part in _parts(begun):
            answers = [(share, of[part]) for share, of in shown]
            loss = self._loss(images[part], begun[part], answers, progress) * (len(images[part]) / len(images))
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        if self._averaged:
            self._averaged.update_parameters(self.network)
        for network in (self.network, self._averaged.module) if self._averaged else (self.network,):
            if self._surgery:
                self._surgery.after(network)
        return total

    def _loss(self, images: Tensor, begun: Tensor, parts: Parts, progress: float) -> Tensor:
        """The loss; `begun` is the output of the frozen blocks, or the images if there are none."""
        with lowered(images.device, self.recipe.mixed_precision):
            logits = cast(Network, self.network).after(self._count, begun, images) if self._kept else self.network(images)
            taught = self._teacher(images) if self._teacher else None
        logits, smoothing = logits.float(), self.recipe.label_smoothing
        losses = [share * F.cross_entropy(logits, labels, self._weights, label_smoothing=smoothing) for share, labels in parts]
        loss = torch.stack(losses).sum()
        loss = loss + self._surgery.penalty(logits, parts, progress) if self._surgery else loss
        return loss if taught is None else distilled(logits, taught.float(), loss)


def _parts(maps: Tensor) -> list[slice]:
    """Slices of a batch [B, C, H, W] for gradient accumulation, as many as needed to limit memory.

    Batch norm sees one slice at a time. Batches of 32 images up to 160x160, or of smaller feature maps, are not split.
    """
    count = -(-len(maps) * maps.shape[2] * maps.shape[3] // _MOST_PIXELS)
    edges = [len(maps) * i // count for i in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(edges)]


def epochs(
    network: nn.Module,
    train: Batches,
    validation: Batches,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    teacher: nn.Module | None = None,
    metric: Metric = "top1",
    ready: int = 0,
    quantisation: Quantisation | None = None,
    recovers: bool = False,
) -> Iterator[Epoch]:
    """Trains `network` in place, yielding after each epoch; raises TrainingFailed like `Training.epoch`."""
    ways: dict[str, Any] = {"teacher": teacher, "metric": metric, "ready": ready, "quantisation": quantisation}
    training = Training(network, train, validation, recipe, generator, recovers=recovers, **ways)
    while not training.finished:
        yield training.epoch()


def accuracy(network: nn.Module, images: Batches) -> float:
    """Top-1 accuracy, 0..1."""
    return evaluate(network, images).top1


def seeded_network(genotype: Genotype, task: Task, seed: int, device: torch.device) -> tuple[Network, torch.Generator]:
    """The untrained network and the generator for its batches, determined by the seed."""
    torch.manual_seed(seed)
    network = build(genotype, task).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, torch.Generator().manual_seed(seed)


def training_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_finite(total: Tensor, epoch: int, batches: int) -> float:
    """The sum of losses as a float; raises TrainingFailed with epoch and batch when it is not finite."""
    value = float(total)
    if not math.isfinite(value):
        raise TrainingFailed(f"the loss was {value} in epoch {epoch}, by batch {batches}")
    return value


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
