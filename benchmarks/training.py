"""How fast the training loop is beside a plain one, with which accuracy; and what lower precision and compiling bring.

usage: python benchmarks/training.py speed|accuracy|precision [--networks A,B,drawn:N] [--data D] [--size S] [--rounds N] ...

Networks are anchors of the space `tiny`, or drawn from it at random as a search draws them: drawn:0, drawn:1 and so on.

The plain loop is what torchvision's documentation shows: a Dataset that gives PIL images, transforms one image at a time
(random crop, flip, to tensor, normalise), a DataLoader without further processes, the network in torch's default memory
format, the same SGD, learning rates and label smoothing. `plain, tensors` is the same on tensors by transforms.v2. Each runs in
a process of its own (ours keeps its heap, a plain one does not) with the same threads, in turns, round by round; a ratio is of
neighbouring rounds, so that other work on the machine meets both. Intervals are 95 %, bootstrapped over rounds or seeds.
"""

import argparse
import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from evaluators.data import Split, load
from evaluators.heap import keep_heap
from evaluators.training import loop
from evaluators.training.batches import Batches
from evaluators.training.groups import optimizer_of
from evaluators.training.kernels.fast import fast
from evaluators.training.precision import lowered
from evaluators.training.recipe import Recipe, load_recipe
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space
from search_spaces.task import Task

_CPU = torch.device("cpu")
MeanStd = tuple[tuple[float, ...], tuple[float, ...]]
Timed = tuple[float, float]
Precision = Callable[[], AbstractContextManager[object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "accuracy", "precision"])
    parser.add_argument("--networks", default="", help="Separated by commas.  [default: all anchors]")
    parser.add_argument("--data", default="fashion-mnist-small")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=1280, help="In a round; of `accuracy`, to train on.")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    dataset = _loaded(flags)
    task = Task((3, flags.size, flags.size), len(dataset.classes))
    print(
        f"torch {torch.__version__}, {platform.machine()}, {flags.threads} thread(s), load {os.getloadavg()[0]:.1f}; "
        f"{dataset.name} at {flags.size}x{flags.size}"
    )
    names = flags.networks.split(",") if flags.networks else [a.name for a in load_space("tiny").reference_networks()]
    for name in names:
        {"speed": _speed, "accuracy": _accuracy, "precision": _precision}[flags.what](
            name, _genotype(name), task, dataset, flags
        )


# --- the plain loop ---


class _Plain(Dataset[tuple[Any, int]]):
    """Batches one at a time, as torchvision's own data sets give them."""

    def __init__(self, split: Split, transform: Callable[[Any], Tensor], pil: bool) -> None:
        self._pixels = split.images.transpose(0, 2, 3, 1).copy() if pil else torch.from_numpy(split.images.copy())
        self._labels, self._transform, self._pil = split.labels.tolist(), transform, pil

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self._pixels[i]) if self._pil else self._pixels[i]
        return self._transform(image), self._labels[i]


def _transform(recipe: Recipe, size: int, mean_std: MeanStd, pil: bool, train: bool) -> Callable[[Any], Tensor]:
    """Crop and flip as the recipe says; outside of the image is the mean, as in our own loop."""
    mean, std = mean_std
    fill = [round(255 * m) for m in mean]
    random = [v2.RandomCrop(size, round(recipe.crop_padding * size), fill=fill), v2.RandomHorizontalFlip()]
    first = [v2.ToImage()] if pil else []
    normalise = [*first, v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
    return v2.Compose([*(random if train else []), *normalise])


class _PlainTraining:
    """The loop that a tutorial has."""

    def __init__(
        self, genotype: Genotype, task: Task, train: Split, recipe: Recipe, mean_std: MeanStd, seed: int, pil: bool = True
    ) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = loop.build(genotype, task)
        transform = _transform(recipe, task.input[1], mean_std, pil, train=True)
        self._loader = DataLoader(_Plain(train, transform, pil), recipe.batch_size, shuffle=True)
        self._recipe = recipe
        fused = optimizer_of(self.network, recipe)
        self._optimizer = torch.optim.SGD([{**group, "fused": None} for group in fused.param_groups])
        steps = recipe.epochs * len(self._loader)
        rate: Callable[[int], float] = lambda step: loop.rate(step, steps, recipe.warmup)  # noqa: E731
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, rate)

    def epoch(self) -> None:
        self.network.train()
        for images, labels in self._loader:
            loss = F.cross_entropy(self.network(images), labels, label_smoothing=self._recipe.label_smoothing)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self._schedule.step()


def _ours(
    genotype: Genotype, task: Task, train: Split, validation: Split, recipe: Recipe, mean_std: MeanStd, seed: int
) -> loop.Training:
    network, generator = loop.seeded_network(genotype, task, seed, _CPU)
    return loop.Training(
        network,
        _images(train, task, mean_std),
        _images(validation, task, mean_std),
        recipe,
        generator,
    )


# --- what is measured ---


def _speed(name: str, genotype: Genotype, task: Task, dataset: Any, flags: argparse.Namespace) -> None:
    """Batches a second of whole loops; and of the parts: images alone, the network alone in both formats."""
    ours, plain, tensors = (_Process(make, name, flags) for make in (_our_ways, _plain_ways, _tensor_ways))
    ways = {
        "ours": ours.ask("loop"),
        "plain": plain.ask("loop"),
        "plain, tensors": tensors.ask("loop"),
        "images, ours": ours.ask("images"),
        "images, plain": plain.ask("images"),
        "steps, channels_last": ours.ask("steps"),
        "steps, default format": plain.ask("steps"),
    }
    print(f"\n{name}: {flags.rounds} rounds of {flags.images} images, batches of {load_recipe('final').batch_size}")
    _compare(_rounds(ways, flags.rounds), flags.images, "ours", "steps, channels_last")
    for process in (ours, plain, tensors):
        process.end()


Ways = dict[str, Callable[[], object]]


class _Process:
    """A process that does one of its ways when it is asked to, and says how long that took."""

    def __init__(self, make: Callable[[str, argparse.Namespace], Ways], name: str, flags: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, name, flags), daemon=True)
        self._process.start()

    def ask(self, way: str) -> Callable[[], Timed]:
        def asked() -> Timed:
            self._pipe.send(way)
            found: Timed = self._pipe.recv()
            return found

        return asked

    def end(self) -> None:
        self._pipe.send("")
        self._process.join()


def _serve(pipe: Any, make: Callable[[str, argparse.Namespace], Ways], name: str, flags: argparse.Namespace) -> None:
    torch.set_num_threads(flags.threads)
    ways = make(name, flags)
    while way := pipe.recv():
        pipe.send(_timed(ways[way]))


def _our_ways(name: str, flags: argparse.Namespace) -> Ways:
    genotype, task, dataset, recipe, some = _setting(name, flags)
    training = _ours(genotype, task, some, _part(dataset.validation, 2), recipe, dataset.mean_std(), 0)
    images = lambda: training._train.epoch(torch.arange(len(some)), recipe, torch.Generator())  # noqa: E731
    return {
        "loop": training.epoch,
        "images": lambda: sum(1 for _ in images()),
        "steps": lambda: _steps(training.network, task, flags.images, recipe, torch.channels_last, _mixed),
    }


def _plain_ways(name: str, flags: argparse.Namespace, pil: bool = True) -> Ways:
    genotype, task, dataset, recipe, some = _setting(name, flags)
    training = _PlainTraining(genotype, task, some, recipe, dataset.mean_std(), 0, pil)
    return {
        "loop": training.epoch,
        "images": lambda: sum(1 for _ in training._loader),
        "steps": lambda: _steps(training.network, task, flags.images, recipe, torch.contiguous_format),
    }


def _tensor_ways(name: str, flags: argparse.Namespace) -> Ways:
    return _plain_ways(name, flags, pil=False)


def _setting(name: str, flags: argparse.Namespace) -> tuple[Genotype, Task, Any, Recipe, Split]:
    dataset = _loaded(flags)
    recipe = replace(load_recipe("final"), epochs=flags.rounds + 1, least_images=0)
    task = Task((3, flags.size, flags.size), len(dataset.classes))
    return _genotype(name), task, dataset, recipe, _part(dataset.train, flags.images)


def _loaded(flags: argparse.Namespace) -> Any:
    """The data set with its training images as an array uint8 [N, 3, size, size]: the plain loop knows no other."""
    dataset = load(flags.data, inputs=[(3, flags.size, flags.size)])
    whole = _images(dataset.train, Task((3, flags.size, flags.size), 1), ((0.0,) * 3, (1.0,) * 3))
    pixels = torch.cat([images for images, _ in whole.in_order(250)]).mul_(255).round_().to(torch.uint8)
    return replace(dataset, train=Split(pixels.numpy(), dataset.train.labels))


def _images(split: Split, task: Task, mean_std: MeanStd) -> Batches:
    return Batches(split.images, split.labels, *mean_std, _CPU, size=task.input[1:])


def _genotype(name: str) -> Genotype:
    space, (kind, _, seed) = load_space("tiny"), name.partition(":")
    if kind == "drawn":
        rng = random.Random(int(seed))
        return space.decode(lambda _, values: rng.choice(values))
    return next(a.genotype for a in space.reference_networks() if a.name == name)


def _precision(name: str, genotype: Genotype, task: Task, dataset: Any, flags: argparse.Namespace) -> None:
    """The network alone, channels_last: in float32, as we train it, in bfloat16 by autocast, compiled; the compiling apart."""
    recipe = load_recipe("final")
    keep_heap()
    networks = {
        way: fast(loop.seeded_network(genotype, task, 0, _CPU)[0]) for way in ("float32", "mixed", "autocast", "compiled")
    }
    compiled = torch.compile(networks["compiled"])

    def steps(network: Any, precision: Precision = nullcontext) -> Callable[[], Timed]:
        return lambda: _timed(lambda: _steps(network, task, flags.images, recipe, torch.channels_last, precision))

    started = time.perf_counter()
    _steps(compiled, task, recipe.batch_size, recipe, torch.channels_last)
    print(f"\n{name}: {flags.rounds} rounds of {flags.images} images; compiling {time.perf_counter() - started:.0f} s")
    ways = {
        "float32": steps(networks["float32"]),
        "mixed, ours": steps(networks["mixed"], _mixed),
        "bfloat16 by autocast": steps(networks["autocast"], lambda: torch.autocast("cpu", torch.bfloat16)),
        "compiled": steps(compiled),
    }
    _compare(_rounds(ways, flags.rounds), flags.images, "float32", "float32")


def _accuracy(name: str, genotype: Genotype, task: Task, dataset: Any, flags: argparse.Namespace) -> None:
    """Our loop, the same in float32, and the plain one, on the same images with the same seeds; accuracy on the test set."""
    recipe = replace(load_recipe("final", epochs=flags.epochs), least_images=0)
    mean_std, train = dataset.mean_std(), _part(dataset.train, flags.images)
    test = _images(dataset.test, task, mean_std)
    validation, rows = _part(dataset.validation, 2), []
    for seed in range(flags.seeds):
        ways: list[Callable[[], loop.Training | _PlainTraining]] = [
            lambda seed=seed: _ours(genotype, task, train, validation, recipe, mean_std, seed),
            lambda seed=seed: _ours(genotype, task, train, validation, replace(recipe, mixed_precision=False), mean_std, seed),
            lambda seed=seed: _PlainTraining(genotype, task, train, recipe, mean_std, seed),
        ]
        rows.append([_trained(way(), flags.epochs, test) for way in ways])
    table = 100 * np.array(rows)
    print(f"\n{name}: {flags.epochs} epochs of {len(train):,} images, {flags.seeds} seeds, test accuracy %")
    for column, way in enumerate(("ours", "ours, float32", "plain")):
        values = table[:, column]
        print(f"{way:<16}{values.mean():7.2f}  deviation {values.std(ddof=1):.2f}   {' '.join(f'{v:.2f}' for v in values)}")
    for column, way in ((1, "ours in float32"), (2, "plain")):
        difference = table[:, 0] - table[:, column]
        error = difference.std(ddof=1) / len(difference) ** 0.5
        print(f"ours - {way}: {difference.mean():+.2f}, standard error of the paired differences {error:.2f}", flush=True)


def _trained(training: "loop.Training | _PlainTraining", epochs: int, test: Batches) -> float:
    for _ in range(epochs):
        training.epoch()
    return loop.accuracy(training.network, test)


def _mixed() -> AbstractContextManager[object]:
    return lowered(_CPU, True)


def _steps(
    network: Any,
    task: Task,
    count: int,
    recipe: Recipe,
    layout: torch.memory_format,
    precision: Precision = nullcontext,
) -> None:
    """Forward and backward on noise, without an optimizer."""
    network.train()
    images = torch.randn(recipe.batch_size, *task.input).contiguous(memory_format=layout)
    labels = torch.randint(0, task.classes, (recipe.batch_size,))
    for _ in range(count // recipe.batch_size):
        with precision():
            loss = F.cross_entropy(network(images).float(), labels)
        network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]


def _timed(way: Callable[[], object]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - wall, time.process_time() - cpu


def _rounds(ways: dict[str, Callable[[], Timed]], count: int) -> dict[str, list[Timed]]:
    """(wall, CPU) seconds of each way in each round, after one round that does not count; forwards and backwards in turn."""
    found: dict[str, list[Timed]] = {name: [] for name in ways}
    for number in range(count + 1):
        names = list(ways) if number % 2 else list(ways)[::-1]
        for name in names:
            taken = ways[name]()
            if number:
                found[name].append(taken)
    return found


def _compare(found: dict[str, list[Timed]], images: int, whole: str, part: str) -> None:
    """Medians, and how many times as fast the first way is as each of the others of its kind."""
    print(f"{'':<24}{'images/s':>11}{'spread':>8}{'us each, CPU':>14}   times as fast (wall; CPU)")
    for name, times in found.items():
        rates = [images / wall for wall, _ in times]
        low, high = np.quantile(rates, [0.25, 0.75])
        each = statistics.median(cpu for _, cpu in times) / images * 1e6
        base = {"steps": part, "images": "images, ours"}.get(name.split(",")[0], whole)
        ratio = "" if name == base else "   ".join(_ratio(times, found[base], column) for column in (0, 1))
        spread = (high - low) / statistics.median(rates)
        print(f"{name:<24}{statistics.median(rates):>11.0f}{spread:>8.1%}{each:>14.0f}   {ratio}", flush=True)


def _ratio(times: list[Timed], base: list[Timed], column: int) -> str:
    ratios = np.array([a[column] / b[column] for a, b in zip(times, base, strict=True)])
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return f"{np.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def _part(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


if __name__ == "__main__":
    main()
