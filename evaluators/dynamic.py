"""Dynamic networks, which skip blocks per image: number of gated blocks and expected MACs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from evaluators.cost import cost, macs
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    import networkx as nx

Image = tuple[int, int, int]


def gated_blocks(genotype: Genotype) -> int:
    """The number of blocks with a gate: all in each `gated` block except its first."""
    return _gates(genotype.blocks)


def expected_macs(genotype: Genotype, task: Task, rates: float | Sequence[float]) -> float:
    """Expected MACs if gated block i, in text order, runs on a share `rates[i]` of the images that reach it.

    A single number is the rate of all blocks. Gates and shortcuts always run, so rate 1 gives the worst case,
    `cost(...).macs`. Raises InputError for a wrong number of rates, or rates outside 0..1.
    """
    worst = cost(genotype, task).macs
    return worst - _skipped(genotype.blocks, task.input, task, iter(_rates(rates, gated_blocks(genotype))))


def _rates(rates: float | Sequence[float], gates: int) -> list[float]:
    found = list(rates) if isinstance(rates, Sequence) else [rates] * gates
    if len(found) != gates:
        raise InputError(f"{len(found)} rates given for {gates} gated blocks")
    if not all(0 <= rate <= 1 for rate in found):
        raise InputError("rates must be 0 to 1")
    return found


def _gates(blocks: Iterable[BlockSpec]) -> int:
    inside = sum(_gates(branch) for spec in blocks for branch in spec.branches)
    return inside + sum(len(spec.branches[0]) - 1 for spec in blocks if spec.kind == "gated")


def _skipped(blocks: Iterable[BlockSpec], shape: Image, task: Task, rates: Iterator[float]) -> float:
    """Expected MACs of the skipped blocks in a sequence; consumes one of `rates` per gate."""
    total = 0.0
    for spec, inner in _with_shapes(blocks, shape, task):
        if spec.kind == "gated":
            total += _skipped_gated(spec, inner, task, rates)
        else:
            total += sum(_skipped(branch, inner, task, rates) for branch in spec.branches)
    return total


def _skipped_gated(gated: BlockSpec, shape: Image, task: Task, rates: Iterator[float]) -> float:
    total = 0.0
    for index, (spec, inner) in enumerate(_with_shapes(gated.branches[0], shape, task)):
        rate = next(rates) if index else 1.0
        body, shortcut = spec.branches
        total += (1 - rate) * _macs(body, inner, task) + rate * _skipped(body, inner, task, rates)
        total += _skipped(shortcut, inner, task, rates)
    return total


def _macs(blocks: Iterable[BlockSpec], shape: Image, task: Task) -> int:
    graphs = (_graph(spec, inner, task) for spec, inner in _with_shapes(blocks, shape, task))
    return sum(macs(data) for graph in graphs for _, data in graph.nodes(data=True))


def _with_shapes(blocks: Iterable[BlockSpec], shape: Image, task: Task) -> Iterator[tuple[BlockSpec, Image]]:
    """Consecutive blocks, each with its input shape."""
    for spec in blocks:
        yield spec, shape
        shape = _graph(spec, shape, task).graph["out_shape"]


def _graph(spec: BlockSpec, shape: Image, task: Task) -> "nx.DiGraph[int]":
    from evaluators.graph import block_graph  # imports torch

    return block_graph(spec, shape, task.input, task.classes)
