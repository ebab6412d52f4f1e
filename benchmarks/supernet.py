"""How well a supernet ranks networks, beside short trainings at equal compute: python benchmarks/supernet.py FOLDER [options].

Networks sampled from a space are trained by themselves (the truth), scored by a supernet, and trained so shortly that all
short trainings together cost what the supernet did. What is done is kept in FOLDER, and not done again when the script is
started anew. One thread; costs are seconds of this process on a processor.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from evaluators.cost import cost
from evaluators.data import Split, load
from evaluators.supernet.paths import SAMPLINGS
from evaluators.supernet.supernet import Supernet
from evaluators.training.batches import Batches
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.recipe import Recipe, load_recipe
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

CPU = torch.device("cpu")
RESAMPLES = 4000


class Kept:
    """Results by name, in one JSON file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "results.json"
        self.found: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.found:
            self.found[name] = make()
            self._path.write_text(json.dumps(self.found, indent=1))
        return self.found[name]


class Bench:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.kept, self.asked = Kept(arguments.folder), arguments
        self.space = replace(load_space(arguments.space), inputs=((3, arguments.size, arguments.size),))
        data = load("fashion-mnist-small", inputs=self.space.inputs)
        how = data.preprocessing(data.inputs[0], *data.mean_std())
        self.train, whole = (Batches.of(split, how, CPU) for split in (data.train, data.validation))
        chosen = whole.share(arguments.validation / len(whole)).numpy()
        self.validation = Batches.of(Split(data.validation.images[chosen], data.validation.labels[chosen]), how, CPU)
        self.task = self.space.task(len(data.classes))
        rng = random.Random("networks to rank")
        self.genotypes = [self.space.sample(rng) for _ in range(arguments.networks)]

    def run(self) -> None:
        final = load_recipe("final", self.asked.truth_epochs)
        final = replace(final, share=self.asked.truth_share, least_images=0)
        truth = [self.trained("truth", g, final, 0) for g in self.genotypes]
        shown = self.asked.truth_epochs * len(self.train.share(final.share))
        seconds = sum(found["seconds"] for found in truth)
        print(f"truth: {seconds:.0f} s, {_percent([found['accuracy'] for found in truth])}")
        supernet = self.supernet()
        images = round(supernet["training_seconds"] / seconds * shown)
        shorter, short = (self.short_trainings(count) for count in (images // 4, images))
        costs = [cost(g, self.task) for g in self.genotypes]
        compare(
            [found["accuracy"] for found in truth],
            {
                "supernet": supernet["scores"],
                "short training, equal compute": short,
                "short training, a quarter of it": shorter,
                "MACs (free)": [c.macs for c in costs],
                "params (free)": [c.params for c in costs],
            },
        )

    def short_trainings(self, images: int) -> list[float]:
        """Accuracies of all networks, each trained by the recipe for candidates on so many images."""
        recipe = replace(load_recipe("proxy", 1), share=min(1.0, images / len(self.train)), least_images=images)
        found = [self.trained(f"short {images}", g, recipe, 1) for g in self.genotypes]
        accuracies = [one["accuracy"] for one in found]
        print(f"short trainings on {images} images: {sum(one['seconds'] for one in found):.0f} s, {_percent(accuracies)}")
        return accuracies

    def trained(self, what: str, genotype: Genotype, recipe: Recipe, seed: int) -> Any:
        """Accuracy on the validation set, and the cost, of one training of one network by itself."""

        def make() -> dict[str, float]:
            start = time.process_time()
            network, generator = seeded_network(genotype, self.task, seed, CPU)
            *_, last = epochs(network, self.train, self.validation, recipe, generator)
            return {"accuracy": last.accuracy, "seconds": time.process_time() - start}

        return self.kept.get(f"{what} {genotype.id}", make)

    def supernet(self) -> Any:
        """The supernet's scores of all networks, and what training and scoring cost."""
        recipe = load_recipe("proxy", self.asked.epochs)

        def make() -> dict[str, Any]:
            start = time.process_time()
            supernet = Supernet(self.space, self.task, seed=0)
            print(f"supernet made: {time.process_time() - start:.1f} s, {len(supernet.weights)} tensors, ", end="")
            print(f"{sum(t.numel() for t in supernet.weights.values()) / 1e6:.1f} M params")
            curve = []
            for epoch in supernet.train(self.train, self.validation, recipe, self.asked.sampling):
                curve.append([epoch.loss, epoch.accuracy, time.process_time() - start])
                print(f"epoch {epoch.number}: loss {epoch.loss:.3f}, {epoch.accuracy:.1%}, {curve[-1][2]:.0f} s", flush=True)
            middle = time.process_time()
            scores = [supernet.score(g, self.train, self.validation, recipe) for g in self.genotypes]
            seconds = {"training_seconds": middle - start, "scoring_seconds": time.process_time() - middle}
            return {"scores": scores, "curve": curve, **seconds}

        found = self.kept.get(f"supernet {self.asked.sampling} {self.asked.epochs}", make)
        costs = f"{found['training_seconds']:.0f} s to train, {found['scoring_seconds']:.0f} s to score all"
        print(f"supernet: {costs}, {_percent(found['scores'])}")
        return found


def compare(truth: Sequence[float], others: dict[str, Sequence[float]]) -> None:
    """Rank correlations with the truth, with 95 % intervals by bootstrap over the networks; differences to the first."""
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(truth), (RESAMPLES, len(truth)))
    first = next(iter(others.values()))
    print("| ranked by | Spearman | Kendall | Spearman, supernet's minus this |\n|---|---|---|---|")
    for name, scores in others.items():
        rho = _interval(truth, scores, samples, lambda a, b: float(spearmanr(a, b).statistic))
        tau = _interval(truth, scores, samples, lambda a, b: float(kendalltau(a, b).statistic))
        differences = [_rho(truth, first, chosen) - _rho(truth, scores, chosen) for chosen in samples]
        print(f"| {name} | {rho} | {tau} | {_span(differences) if scores is not first else ''} |")


def _interval(
    truth: Sequence[float], scores: Sequence[float], samples: np.ndarray, measure: Callable[[Any, Any], float]
) -> str:
    a, b = np.array(truth), np.array(scores)
    return f"{measure(a, b):.2f} ({_span([measure(a[chosen], b[chosen]) for chosen in samples])})"


def _rho(truth: Sequence[float], scores: Sequence[float], chosen: np.ndarray) -> float:
    return float(spearmanr(np.array(truth)[chosen], np.array(scores)[chosen]).statistic)


def _percent(shares: Sequence[float]) -> str:
    return " ".join(f"{share:.1%}" for share in shares)


def _span(values: Sequence[float]) -> str:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{low:.2f} to {high:.2f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--size", type=int, default=16, help="of the images, pixels")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--validation", type=int, default=1500, help="images that accuracies are of")
    parser.add_argument("--epochs", type=int, default=6, help="of the supernet")
    parser.add_argument("--sampling", choices=SAMPLINGS, default="fair")
    parser.add_argument("--truth-epochs", type=int, default=1)
    parser.add_argument("--truth-share", type=float, default=0.5)
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    Bench(_arguments()).run()
