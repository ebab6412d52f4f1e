"""Published benchmark tables as search spaces: what a training would have given is looked up.

NAS-Bench-Macro (Su et al., arXiv:2103.11922): 6,561 chains of eight MobileNetV2 blocks or identities, three trainings each;
budgets are in millions of MACs. NAS-Bench-201 (Dong and Yang, arXiv:2001.00326): 15,625 cells of six edges, 12- and 200-epoch
accuracies; latencies are those that HW-NAS-Bench measured (arXiv:2103.10584) and others like it; budgets are in milliseconds.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.budget.estimate import Estimate
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.registry import Value

Array = NDArray[np.float64]
Column = Array | Mapping[int, float]  # a number for each row


class Table(Protocol):
    """A search space whose genotypes have rows; `accuracies` are the means that regret is measured by, in points."""

    @property
    def genes(self) -> Mapping[str, tuple[Value, ...]]: ...

    @property
    def costs(self) -> Column:
        """What a budget limits."""
        ...

    @property
    def macs(self) -> Column: ...

    @property
    def params(self) -> Column: ...

    @property
    def accuracies(self) -> Column: ...

    def decode(self, genes: Callable[[str, Sequence[Value]], Value]) -> Genotype: ...

    def encode(self, genotype: Genotype) -> Mapping[str, Value]: ...

    def row(self, genotype: Genotype) -> int: ...

    def best(self, budget: float) -> float:
        """The accuracy of the best network within the budget."""
        ...

    def trained(self, row: int, seed: int) -> tuple[float, ...]:
        """Accuracies 0..1 of one training, after each of its rungs; neighbouring seeds are different trainings."""
        ...


@dataclass(frozen=True)
class Estimator:
    """Estimates from a table; predicted costs are off by a factor of standard deviation `error`, the same whenever asked.

    The upper bound is at the confidence whose normal quantile is `margin`.
    """

    table: Table
    error: float = 0.0
    margin: float = 1.645
    seed: int = 0

    def __call__(self, genotypes: Sequence[Genotype]) -> list[Estimate]:
        return [self._of(self.table.row(g)) for g in genotypes]

    def timed(self, genotype: Genotype, estimate: Estimate) -> Estimate:
        """The estimate with what the network truly costs."""
        return replace(estimate, timed_ms=float(self.table.costs[self.table.row(genotype)]))

    def _of(self, row: int) -> Estimate:
        off = self.error * random.Random(f"{self.seed} {row}").gauss(0, 1) if self.error else 0.0
        predicted = float(self.table.costs[row]) * math.exp(off)
        bound = predicted * math.exp(self.error * self.margin)
        return Estimate(predicted, bound, int(self.table.params[row]), int(self.table.macs[row]))


class Macro:
    """NAS-Bench-Macro, from nas_bench_macro.npz: arch, test_acc [n, 3], params, flops (MACs at 32x32)."""

    _STAGES = ((64, (0, 1)), (128, (2, 3, 4)), (256, (5, 6, 7)))
    _KNOBS: Mapping[int, Mapping[str, Value]] = {1: {"kernel": 3, "expand": 3}, 2: {"kernel": 5, "expand": 6}}

    def __init__(self, folder: Path) -> None:
        table = np.load(folder / "nas_bench_macro.npz")
        self.genes = {f"l{i + 1}.block": ("identity", "k3e3", "k5e6") for i in range(8)}
        self._rows = {arch: i for i, arch in enumerate(table["arch"].tolist())}
        self.macs, self.params = table["flops"].astype(float), table["params"].astype(float)
        self.costs = self.macs / 1e6
        self._tests = table["test_acc"].astype(float)
        self.accuracies = self._tests.mean(axis=1)
        self._genotypes: dict[str, Genotype] = {}
        self._codes: dict[str, str] = {}

    def decode(self, genes: Callable[[str, Sequence[Value]], Value]) -> Genotype:
        code = "".join(str(values.index(genes(name, values))) for name, values in self.genes.items())
        code = "".join(_identities_last([code[i] for i in layers]) for _, layers in self._STAGES)
        if code not in self._genotypes:
            self._genotypes[code] = genotype = Genotype.of(self._blocks(code))
            self._codes[genotype.text] = code
        return self._genotypes[code]

    def encode(self, genotype: Genotype) -> Mapping[str, Value]:
        raise InputError("no anchors here")

    def row(self, genotype: Genotype) -> int:
        return self._rows[self._codes[genotype.text]]

    def best(self, budget: float) -> float:
        return float(self.accuracies[self.costs <= budget].max())

    def trained(self, row: int, seed: int) -> tuple[float, ...]:
        return (float(self._tests[row, seed % 3]) / 100,)

    def _blocks(self, code: str) -> list[BlockSpec]:
        found = [BlockSpec.make("conv", 32)]
        for width, layers in self._STAGES:
            for stride, layer in zip((2, 1, 1), layers, strict=False):
                if op := int(code[layer]):
                    found.append(BlockSpec.make("inverted_residual", width, stride, {**self._KNOBS[op], "act": "relu"}))
                elif stride == 2:
                    found.append(BlockSpec.make("conv", width, 2, {"kernel": 1, "act": "none"}))
        return [*found, BlockSpec.make("conv", 1280, 1, {"kernel": 1}), BlockSpec.make("head")]


class Cells:
    """NAS-Bench-201 on CIFAR-10, from nas_bench_201.npz, with the latency of one device.

    A genotype here is no network but a name: the six edges of the cell, each as a block of ours, and the paths through it,
    each as a branch.
    """

    _EDGES: Mapping[str, BlockSpec] = {
        "none": BlockSpec.make("max_pool"),
        "skip_connect": BlockSpec.make("avg_pool", knobs={"kernel": 2}),
        "nor_conv_1x1": BlockSpec.make("conv", 16, 1, {"kernel": 1}),
        "nor_conv_3x3": BlockSpec.make("conv", 16, 1, {"kernel": 3}),
        "avg_pool_3x3": BlockSpec.make("avg_pool"),
    }

    _WAYS = ((3,), (0, 4), (1, 5), (0, 2, 5))  # edges from the input to the output: 0>1, 0>2, 1>2, 0>3, 1>3, 2>3

    def __init__(self, folder: Path, device: str) -> None:
        table = np.load(folder / "nas_bench_201.npz")
        names = tuple(table["op_names"].tolist())
        self.genes = {f"e{i + 1}.block": names for i in range(6)}
        self._rows = {tuple(names[op] for op in ops): i for i, ops in enumerate(table["ops"].tolist())}
        self.macs, self.params = table["macs_cifar10"].astype(float), table["params_cifar10"].astype(float)
        devices = table["latency_devices"].tolist()
        self.costs = np.maximum(table["latency_ms"][:, devices.index(device)].astype(float), 1e-3)
        self._full = table["acc_test_200ep"][:, 0].astype(float)
        self._short = table["acc_12ep"][:, table["acc_12ep_cols"].tolist().index("cifar10_val")].astype(float)
        self.accuracies = self._full
        self._genotypes: dict[tuple[Value, ...], Genotype] = {}
        self._texts: dict[str, int] = {}
        for edges in product(names, repeat=6):
            named = [self._EDGES[e] for e in edges]
            paths = [BlockSpec.make("add", branches=found)] if (found := self._paths(edges)) else []
            genotype = Genotype.of([*named, *paths, BlockSpec.make("head")])
            self._genotypes[edges], self._texts[genotype.text] = genotype, self._rows[edges]

    def _paths(self, edges: Sequence[str]) -> list[list[BlockSpec]]:
        """What images pass on each way through the cell that no `none` interrupts."""
        ways = [[edges[i] for i in way] for way in self._WAYS]
        return [[self._EDGES[op] for op in way if op != "skip_connect"] for way in ways if "none" not in way]

    def decode(self, genes: Callable[[str, Sequence[Value]], Value]) -> Genotype:
        return self._genotypes[tuple(genes(name, values) for name, values in self.genes.items())]

    def encode(self, genotype: Genotype) -> Mapping[str, Value]:
        raise InputError("no anchors here")

    def row(self, genotype: Genotype) -> int:
        return self._texts[genotype.text]

    def best(self, budget: float) -> float:
        return float(self.accuracies[self.costs <= budget].max())

    def trained(self, row: int, seed: int) -> tuple[float, ...]:
        return (self._short[row] / 100, self._full[row] / 100)


def _identities_last(ops: Sequence[str]) -> str:
    """A stage's operations as the table writes them; the order of the others stays."""
    return "".join(sorted(ops, key=lambda op: op == "0"))
