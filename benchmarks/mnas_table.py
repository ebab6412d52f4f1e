"""MnasNet's space on ImageNet as a benchmark table: what trainings and a device would have given, as fitted to 5,123 that were.

Accel-NASBench (Ahmad et al., arXiv:2404.08005) trained 5,138 networks of 28 choices (depth, kernel, expansion, squeeze-and-
excitation of seven stages) on ImageNet, once each, and timed all but a few on an FPGA (ZCU102). As there, boosted trees
tell accuracy and latency of the other 10^11; trainings differ from it by noise as wide as between seeds.
"""

import json
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from evaluators.cost import cost
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space_file import load_space

_ARCHIVE = "anb_dataset_jsons.tar.gz"  # of github.com/afzalxo/Accel-NASBench
_SEED_STD = 0.31  # points, between three trainings of one network, of 117 networks (proxified-seed*.csv there)
_KEYS = {"depth": "l", "kernel": "k", "expand": "e", "se": "se"}  # theirs by our last word for a choice
_SQUEEZED = 0.25
_CLIMBS = 12  # from random networks, for the best that is known
_PAIRS = 6  # genes beside each one that a climb changes together with it

Genes = Mapping[str, Value]


class Mnas:
    """From anb_dataset_jsons.tar.gz. A row's number says its genes; what it holds is worked out when it is first asked for, of
    all networks decoded until then at once. Budgets are milliseconds.
    """

    def __init__(self, folder: Path) -> None:
        self._space = load_space(str(Path(__file__).parent / "mnas.yaml"))
        self.genes: Mapping[str, tuple[Value, ...]] = self._space.genes
        self._rows: dict[str, int] = {}
        self._asked: dict[int, Genotype] = {}  # not worked out yet
        self.macs: dict[int, float] = {}
        self.params: dict[int, float] = {}
        self.costs: dict[int, float] = {}
        self.accuracies: dict[int, float] = {}
        known = [k for k in _trained(folder / _ARCHIVE) if k["platform_perf"].get("latency_zcu102", {}).get("latency_mean")]
        choices = np.array([self._choices(k["architecture"]) for k in known])
        self._accuracy = _trees().fit(choices, [k["metrics"]["val_top1"] for k in known])
        self._log_ms = _trees().fit(choices, [np.log(k["platform_perf"]["latency_zcu102"]["latency_mean"]) for k in known])

    def _choices(self, architecture: Mapping[str, Any]) -> list[int]:
        """The place of each gene's value among its values."""
        found = []
        for gene, values in self.genes.items():
            stage, *_, knob = gene.split(".")
            value = architecture[f"block{stage[1:]}_{_KEYS[knob]}"]
            found.append(values.index(_SQUEEZED * value if knob == "se" else value))
        return found

    def decode(self, genes: Callable[[str, Sequence[Value]], Value]) -> Genotype:
        chosen: dict[str, Value] = {}

        def choose(gene: str, values: Sequence[Value]) -> Value:
            chosen[gene] = genes(gene, values)
            return chosen[gene]

        genotype = self._space.decode(choose)
        if genotype.text not in self._rows:
            row = 0
            for gene, values in self.genes.items():
                row = row * len(values) + values.index(chosen[gene])
            self._rows[genotype.text], self._asked[row] = row, genotype
        return genotype

    def encode(self, genotype: Genotype) -> Mapping[str, Value]:
        return self._space.encode(genotype)

    def row(self, genotype: Genotype) -> int:
        if self._asked:
            choices = np.array([self._digits(row) for row in self._asked])
            self.costs |= zip(self._asked, np.exp(self._log_ms.predict(choices)).tolist(), strict=True)
            self.accuracies |= zip(self._asked, self._accuracy.predict(choices).tolist(), strict=True)
            for row, asked in self._asked.items():
                counted = cost(asked, asked.task(1000))
                self.macs[row], self.params[row] = counted.macs, counted.params
            self._asked.clear()
        return self._rows[genotype.text]

    def _digits(self, row: int) -> list[int]:
        found = []
        for values in reversed(list(self.genes.values())):
            row, place = divmod(row, len(values))
            found.append(place)
        return found[::-1]

    def trained(self, row: int, seed: int) -> tuple[float, ...]:
        noise = random.Random(f"{row} {seed}").gauss(0, _SEED_STD)
        return ((self.accuracies[row] + noise) / 100,)

    def best(self, budget: float) -> float:
        """The best known: what climbing finds, without noise, from several random networks."""
        return max(self._climbed(budget, random.Random(seed)) for seed in range(_CLIMBS))

    def _climbed(self, budget: float, rng: random.Random) -> float:
        at: Genes = {gene: rng.choice(values) for gene, values in self.genes.items()}
        while not np.isfinite(level := self._level(at, budget)):
            at = dict(at) | {gene: min(self.genes[gene]) for gene in rng.sample(list(self.genes), 8)}  # type: ignore[type-var]
        while True:
            levels, changed = zip(*((self._level(c, budget), c) for c in self._changes(at, rng)), strict=True)
            if max(levels) <= level:
                return level
            level, at = max(levels), changed[int(np.argmax(levels))]

    def _changes(self, at: Genes, rng: random.Random) -> Iterator[Genes]:
        """Every change of one gene, and each of these with some others; all decoded, to be worked out at once."""
        found = [{**at, gene: value} for gene in at for value in self.genes[gene] if value != at[gene]]
        found += [{**one, g: v} for one in found for g in rng.sample(list(at), _PAIRS) for v in self.genes[g] if v != one[g]]
        for genes in found:
            self.decode(lambda gene, _, genes=genes: genes[gene])  # type: ignore[misc]
        return iter(found)

    def _level(self, genes: Genes, budget: float) -> float:
        row = self.row(self.decode(lambda gene, _: genes[gene]))
        return self.accuracies[row] if self.costs[row] <= budget else -np.inf


def _trained(archive: Path) -> list[dict[str, Any]]:
    with tarfile.open(archive) as files:
        opened = (files.extractfile(member) for member in files if member.name.endswith(".json"))
        return [json.load(file) for file in opened if file]


def _trees() -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=600, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=10, random_state=0
    )
