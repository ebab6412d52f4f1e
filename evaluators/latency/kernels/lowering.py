"""The kernels that a runtime runs for each block of a network, and their sums by class.

Which they are depends on the graph that the runtime makes: "fused", as ONNX Runtime does (fused.py), "fused8", as it does on
processors without AVX-512, "quantised", as it does in int8 (quantised.py), or "eager", every operation by itself, as torch does
(eager.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from evaluators.latency.kernels.eager import eager_kernels
from evaluators.latency.kernels.fused import fused_kernels
from evaluators.latency.kernels.kernel import Kernel, Layout, Timed
from evaluators.latency.kernels.quantised import quantised_kernels
from evaluators.latency.runtime import Graph
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Input, Task

LOWERING = 6  # the version of these files' rules: older profiles in float32 are lowered again when they are used
_BLOCKS: Mapping[Graph, int] = {"fused": 16, "fused8": 8}  # channels that are laid out together
_IN_BLOCKS = ("conv_stem", "conv_dense", "conv_grouped", "pointwise", "depthwise")
FEATURES = ("count", "macs", "padded", "moved", "weights")


class Place(NamedTuple):
    """A block in its place: what it reads, and what else of its network makes a difference to it."""

    spec: BlockSpec
    in_shape: tuple[int, ...]
    image: Input
    classes: int
    layout: Layout


@dataclass(frozen=True)
class Lowered:
    """A block's kernels, and summed by class as rows of FEATURES; the shape and layout of what it hands on."""

    kernels: tuple[Kernel, ...]
    totals: Mapping[str, tuple[int, ...]]
    out_shape: tuple[int, ...]
    out_layout: Layout


def lowered_places(genotype: Genotype, task: Task, kind: Graph = "fused") -> Iterator[tuple[Place, Lowered]]:
    """Every block in its place and its kernels there, from the cache where it was met before."""
    shape: tuple[int, ...] = task.input
    layout: Layout = "plain"
    for spec in genotype.blocks:
        place = Place(spec, shape, task.input, task.classes, layout)
        lowered = lower_block(place, kind)
        yield place, lowered
        shape, layout = lowered.out_shape, lowered.out_layout


def lowered_blocks(genotype: Genotype, task: Task, kind: Graph = "fused") -> list[Lowered]:
    """Every block's kernels in its place."""
    return [lowered for _, lowered in lowered_places(genotype, task, kind)]


def total_kernels(genotype: Genotype, task: Task, kind: Graph = "fused") -> dict[str, tuple[int, ...]]:
    """A network's kernels, summed by class: rows of FEATURES."""
    totals: dict[str, tuple[int, ...]] = {}
    for lowered in lowered_blocks(genotype, task, kind):
        for name, row in lowered.totals.items():
            totals[name] = _add(totals.get(name), row)
    return totals


def _add(total: tuple[int, ...] | None, row: tuple[int, ...]) -> tuple[int, ...]:
    return row if total is None else tuple(map(sum, zip(total, row, strict=True)))


def graph_run(kind: Graph, timed: Iterable[Timed]) -> Graph:
    """The graph that a runtime of this kind ran, by its timed kernels: "fused8" if channels were in blocks of 8."""
    widths = (size.c_out for name, size, _ in timed if name in _IN_BLOCKS)
    return "fused8" if kind == "fused" and any(width % _BLOCKS["fused"] for width in widths) else kind


@lru_cache(maxsize=2**17)
def lower_block(place: Place, kind: Graph) -> Lowered:
    """The kernels of one block in the graph that the runtime runs."""
    from evaluators.graph import block_graph  # imports torch

    graph = block_graph(place.spec, place.in_shape, place.image, place.classes)  # type: ignore[arg-type]
    if block := _BLOCKS.get(kind):
        kernels, out_layout = fused_kernels(graph, place.layout, block)
    elif kind == "quantised":
        kernels, out_layout = quantised_kernels(graph, place.layout, first=place.in_shape == place.image)
    else:
        kernels, out_layout = tuple(eager_kernels(graph)), place.layout
    totals: dict[str, tuple[int, ...]] = {}
    for kernel in kernels:
        row = (1, kernel.macs, kernel.padded, kernel.moved, kernel.weights)
        totals[kernel.kind] = _add(totals.get(kernel.kind), row)
    return Lowered(kernels, totals, graph.graph["out_shape"], out_layout)
