"""How zero-cost scores rank the networks of NAS-Bench-Macro; prints the table of benchmarks/zero_cost.md.

usage: python benchmarks/zero_cost.py TABLE.npz DATA [--networks N] [--batch B] [--seed S]

TABLE.npz has arch [N] (text), test_acc [N, 3] (percent), params [N] and flops [N] (MACs). DATA is a data set as `nas search
--data` takes it, with images like CIFAR-10's: `cifar10`, `imagefolder:PATH`.
"""

import argparse
import platform
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from nas_bench_macro import TASK, genotype_of
from numpy.typing import NDArray
from scipy.stats import spearmanr

from evaluators import zero_cost
from evaluators.cost import cost
from evaluators.data import Split, load
from evaluators.training.batches import Batches
from search_spaces.genotype import Genotype

RESAMPLES = 2000
Values = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("data")
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = dict(np.load(arguments.table, allow_pickle=False))
    rows = np.random.default_rng(arguments.seed).choice(len(table["arch"]), arguments.networks, replace=False)
    networks = [genotype_of(str(arch)) for arch in table["arch"][rows]]
    check_counts(networks, table["params"][rows], table["flops"][rows])
    columns, seconds = scored(networks, *batch(arguments.data, arguments.batch, arguments.seed), arguments.seed)
    columns |= {"params": table["params"][rows], "MACs": table["flops"][rows]}
    print_report(arguments, columns, seconds, table["test_acc"][rows].astype(float))


def check_counts(networks: Sequence[Genotype], params: Sequence[int], macs: Sequence[int]) -> None:
    found = [cost(network, TASK) for network in networks]
    assert [(c.params, c.macs) for c in found] == list(zip(params, macs, strict=True)), "not the table's networks"


def batch(spec: str, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised training images [count, 3, 32, 32], and their labels."""
    data = load(spec, inputs=[TASK.input])
    chosen = np.random.default_rng(seed).choice(len(data.train), count, replace=False)
    split = Split(data.train.images[chosen], data.train.labels[chosen])
    batches = Batches.of(split, data.preprocessing(TASK.input, *data.mean_std()), torch.device("cpu"))
    return next(batches.in_order(count))


def scored(
    networks: Sequence[Genotype], images: torch.Tensor, labels: torch.Tensor, seed: int
) -> tuple[dict[str, Values], dict[str, float]]:
    """Each score and the vote of all networks, and the median processor time of a score in milliseconds."""
    table: list[dict[str, float]] = [{} for _ in networks]
    times: dict[str, list[float]] = {name: [] for name in zero_cost.names()}
    for number, (network, row) in enumerate(zip(networks, table, strict=True), 1):
        print(f"\r{number} of {len(networks)}", end="", file=sys.stderr, flush=True)
        for name, spent in times.items():
            start = time.process_time()
            row |= zero_cost.scores(network, TASK, images, labels, seed, names=[name])
            spent.append(1000 * (time.process_time() - start))
    found = {name: np.array([row[name] for row in table]) for name in times}
    return found | {"vote": np.array(zero_cost.vote(table))}, {n: float(np.median(t)) for n, t in times.items()}


def rank_correlation(a: Values, b: Values, among: NDArray[np.bool_] | None = None) -> str:
    """Spearman's rho of the networks chosen, with the 95 % interval of a bootstrap over networks."""
    if among is not None:
        a, b = a[among], b[among]
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(a), len(a)) for _ in range(RESAMPLES)]
    low, high = np.quantile([spearmanr(a[i], b[i]).statistic for i in drawn], [0.025, 0.975])
    return f"{spearmanr(a, b).statistic:.2f} ({low:.2f} to {high:.2f})"


def print_report(
    arguments: argparse.Namespace, columns: Mapping[str, Values], seconds: Mapping[str, float], accuracies: Values
) -> None:
    mean = accuracies.mean(1)
    better, macs = mean >= np.median(mean), columns["MACs"]
    alike = np.abs(np.log(macs / np.median(macs))) < 0.2
    print("# Zero-cost scores on NAS-Bench-Macro\n")
    print(f"{len(mean)} networks of NAS-Bench-Macro (arXiv:2103.11922), drawn at random; seed {arguments.seed}; ", end="")
    print(f"one batch of {arguments.batch} images of {arguments.data.partition(':')[0]} at 32x32.")
    print(f"torch {torch.__version__}, {platform.machine()}, one thread. Params and MACs of all {len(mean)} are the table's.\n")
    print("Spearman's rho with the mean test accuracy of three trainings on CIFAR-10, and its 95 % interval")
    print(f"(bootstrap, {RESAMPLES} resamples): of all; of the better half; of the {alike.sum()} whose MACs are within a")
    print(f"factor of {np.exp(0.2):.2f} of the median. Time: median of a network, building included.\n")
    print("| rank by | all | better half | alike MACs | ms |\n|---|---|---|---|---|")
    for name, values in columns.items():
        found = [rank_correlation(values.astype(float), mean, among) for among in (None, better, alike)]
        print(f"| {name} | {' | '.join(found)} | {f'{seconds[name]:.0f}' if name in seconds else ''} |")
    once, twice = accuracies[:, 0], accuracies[:, 1:].mean(1)
    found = [rank_correlation(once, twice, among) for among in (None, better, alike)]
    print(f"| one full training, with the mean of two others | {' | '.join(found)} | |")


if __name__ == "__main__":
    main()
