"""From a block's traced graph to the kernels that ONNX Runtime runs on a CPU: what fuses, what forces a layout change.

Convolutions, with batch norm folded, work on channels in blocks of 16 ("blocked") and take a following activation and a
following addition with them; poolings and plain elementwise operations keep the layout; everything else (slices,
concatenation of odd widths, transposition, PReLU, broadcasting multiplication, grouped convolution) wants NCHW
("plain"), and the tensor is reordered first. Read off onnxruntime/core/optimizer/nchwc_transformer.cc and the
optimised graphs of version 1.31.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from evaluators.cost import LINEAR, macs
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    import networkx as nx

Layout = Literal["plain", "blocked"]
Node = Mapping[str, Any]

LOWERING = 1  # the version of this file's rules: profiles made by another one are lowered again when they are used
_BLOCK = 16
_ALIGNED = 4
_FUSED_ACTIVATIONS = frozenset(["relu", "hardtanh", "clamp", "hardswish", "hardsigmoid", "sigmoid", "leaky_relu", "tanh"])
_ANY_LAYOUT = frozenset(
    [
        "relu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "hardsigmoid",
        "hardswish",
        "silu",
        "add",
        "mul",
        "native_batch_norm",
        "mean",
    ]
)
_POOLINGS = frozenset(["max_pool2d_with_indices", "avg_pool2d"])
_FREE = frozenset(
    [
        "view",
        "_unsafe_view",
        "clone",
        "alias",
        "detach",
        "squeeze",
        "unsqueeze",
        "flatten",
        "reshape",
        "contiguous",
        "empty",
        "lift_fresh",
    ]
)

_PLAIN_WORDS = {
    "native_batch_norm": "batch_norm",
    "mean": "global_pool",
    "max_pool2d_with_indices": "max_pool",
    "avg_pool2d": "average_pool",
    "_prelu_kernel": "prelu",
    "constant_pad_nd": "pad",
    "permute": "transpose",
}


@dataclass(frozen=True)
class Kernel:
    """One kernel of class `kind`; `padded` are MACs with channels rounded up to 16, `moved` elements read and written."""

    kind: str
    macs: int = 0
    padded: int = 0
    moved: int = 0
    weights: int = 0


FEATURES = ("count", "macs", "padded", "moved", "weights")


@dataclass(frozen=True)
class Lowered:
    """A block's kernels, summed by class: rows of FEATURES; the shape and layout of what it hands on."""

    totals: Mapping[str, tuple[int, ...]]
    out_shape: tuple[int, ...]
    out_layout: Layout


def lowered_blocks(genotype: Genotype, task: Task) -> list[Lowered]:
    """Every block's kernels in its place, from the cache where the same block was met before."""
    found: list[Lowered] = []
    shape: tuple[int, ...] = task.input
    layout: Layout = "plain"
    for spec in genotype.blocks:
        found.append(lower_block(spec, shape, task.input, task.classes, layout))  # type: ignore[arg-type]
        shape, layout = found[-1].out_shape, found[-1].out_layout
    return found


def total_kernels(genotype: Genotype, task: Task) -> dict[str, tuple[int, ...]]:
    """A network's kernels, summed by class: rows of FEATURES."""
    totals: dict[str, tuple[int, ...]] = {}
    for lowered in lowered_blocks(genotype, task):
        for kind, row in lowered.totals.items():
            totals[kind] = _add(totals.get(kind), row)
    return totals


def _add(total: tuple[int, ...] | None, row: tuple[int, ...]) -> tuple[int, ...]:
    return row if total is None else tuple(map(sum, zip(total, row, strict=True)))


@lru_cache(maxsize=2**17)
def lower_block(
    spec: BlockSpec, in_shape: tuple[int, int, int], image: tuple[int, int, int], classes: int, layout: Layout
) -> Lowered:
    """The kernels of one block whose input comes in `layout`."""
    from evaluators.graph import block_graph  # imports torch

    graph = block_graph(spec, in_shape, image, classes)
    lowering = _Lowering(graph, layout)
    totals: dict[str, tuple[int, ...]] = {}
    for kernel in lowering.kernels():
        row = (1, kernel.macs, kernel.padded, kernel.moved, kernel.weights)
        totals[kernel.kind] = _add(totals.get(kernel.kind), row)
    return Lowered(totals, graph.graph["out_shape"], lowering.out_layout)


class _Lowering:
    """One pass over a graph in order; `_layouts` holds in which layouts each tensor is at hand."""

    def __init__(self, graph: "nx.DiGraph[int]", layout: Layout) -> None:
        self._graph = graph
        self._layouts: dict[int, set[str]] = {}
        self._absorbed: dict[int, int] = {}  # nodes that became part of the kernel of an earlier one
        for node, data in graph.nodes(data=True):
            if data["op"] in ("input", "image"):
                self._layouts[node] = {layout if data["op"] == "input" else "plain"}

    @property
    def out_layout(self) -> Layout:
        return "blocked" if "blocked" in self._layouts[self._graph.graph["output"]] else "plain"

    def kernels(self) -> Iterator[Kernel]:
        for node, data in self._graph.nodes(data=True):
            if node in self._layouts or node in self._absorbed:
                continue
            if data["op"] == "convolution":
                yield from self._convolution(node, data)
            elif data["op"] in _FREE:
                yield from self._free(node, data)
            else:
                yield from self._other(node, data)
            for absorbed in [n for n, into in self._absorbed.items() if into == node]:
                self._layouts[absorbed] = self._layouts[node]

    def _convolution(self, node: int, data: Node) -> Iterator[Kernel]:
        kind = _convolution_kind(data)
        layout: Layout = "plain" if kind == "conv_plain" else "blocked"
        if kind != "conv_stem":
            yield from self._reorder(self._sources(node), layout)
        residual = self._fuse(node, layout)
        if residual is not None:
            yield from self._reorder([residual], layout)
        self._layouts[node] = {layout}
        yield Kernel(kind, macs(data), _padded(data, kind), _moved(data), data["weights"])

    def _fuse(self, node: int, layout: Layout) -> int | None:
        """Absorbs batch norm, addition, activation behind a convolution; returns the tensor that is added, if any."""
        residual = None
        last = self._absorb(node, node, {"native_batch_norm"})
        added = self._absorb(last, node, {"add"}, lambda n: self._addend(n, last, layout) is not None)
        if added != last:
            residual = self._addend(added, last, layout)
        self._absorb(added, node, _FUSED_ACTIVATIONS)
        return residual

    def _absorb(self, last: int, into: int, ops: Any, condition: Any = lambda node: True) -> int:
        readers = list(self._graph.successors(last))
        if len(readers) != 1 or self._graph.nodes[readers[0]]["op"] not in ops or not condition(readers[0]):
            return last
        self._absorbed[readers[0]] = into
        return int(readers[0])

    def _addend(self, add: int, last: int, layout: Layout) -> int | None:
        """What `add` adds to `last`, if it has the same shape and was computed before."""
        others = [s for s in self._graph.predecessors(add) if s != last]
        shapes = set(self._graph.nodes[add]["inputs"])
        if len(others) == 1 and len(shapes) == 1 and layout in self._layouts.get(others[0], ()):
            return int(others[0])
        return None

    def _free(self, node: int, data: Node) -> Iterator[Kernel]:
        """A change of shape: no work, but NCHW unless nothing changes."""
        if data["inputs"][0] != data["shape"] and math.prod(data["shape"][2:]) > 1:
            yield from self._reorder(self._sources(node), "plain")
        kept = data["inputs"][0] == data["shape"]
        self._layouts[node] = set(self._layouts[self._sources(node)[0]]) if kept else {"plain"}

    def _other(self, node: int, data: Node) -> Iterator[Kernel]:
        layout: Layout = "blocked" if self._keeps_blocked(node, data) else "plain"
        yield from self._reorder(self._sources(node), layout)
        self._layouts[node] = {layout}
        if data["op"] in LINEAR:
            yield Kernel("linear", macs(data), macs(data), _moved(data), data["weights"])
        elif data["op"] == "native_batch_norm" and layout == "blocked":  # runs as a depthwise 1x1 convolution
            self._absorb(node, node, _FUSED_ACTIVATIONS)
            yield Kernel("batch_norm_blocked", moved=_moved(data), weights=data["weights"])
        else:
            yield Kernel(_PLAIN_WORDS.get(data["op"], str(data["op"])), moved=_moved(data))

    def _keeps_blocked(self, node: int, data: Node) -> bool:
        blocked = all("blocked" in self._layouts[s] for s in self._sources(node))
        same = all(shape == data["inputs"][0] for shape in data["inputs"])
        if data["op"] in _POOLINGS:
            return bool(data["inputs"][0][1] % _BLOCK == 0)
        if data["op"] == "cat":
            return blocked and all(shape[1] % _BLOCK == 0 for shape in data["inputs"])
        return data["op"] in _ANY_LAYOUT and blocked and same

    def _reorder(self, sources: list[int], layout: Layout) -> Iterator[Kernel]:
        for source in sources:
            if layout not in self._layouts[source]:
                if not self._graph.nodes[source]["op"].startswith("split"):  # one node, several tensors
                    self._layouts[source].add(layout)
                yield Kernel(f"reorder_{layout}", moved=2 * math.prod(self._graph.nodes[source]["shape"]))

    def _sources(self, node: int) -> list[int]:
        return sorted(self._graph.predecessors(node))


def _convolution_kind(data: Node) -> str:
    """The code path that ONNX Runtime takes: its class of kernel."""
    c_in, c_out, groups = data["inputs"][0][1], data["shape"][1], data["groups"]
    per_group = c_in // groups
    if groups > 1:
        if per_group == 1 and c_out == groups and c_out % _ALIGNED == 0:
            return "depthwise" if max(data["dilation"]) == 1 else "depthwise_dilated"
        whole = per_group % _BLOCK == 0 and (c_out // groups) % _BLOCK == 0
        return "conv_grouped" if whole else "conv_plain"
    if c_in < _BLOCK:
        return "conv_stem"
    if c_in % _ALIGNED:
        return "conv_plain"
    if max(data["kernel"]) > 1:
        return "conv_dense"
    return "pointwise" if math.prod(data["shape"][2:]) > 1 else "pointwise_vector"


def _padded(data: Node, kind: str) -> int:
    """MACs with channels rounded up to full blocks."""
    if kind in ("conv_plain", "conv_grouped"):
        return macs(data)
    c_in, c_out = data["inputs"][0][1], data["shape"][1]
    factor = _up(c_out) / c_out
    if not kind.startswith("depthwise") and kind != "conv_stem":
        factor *= _up(c_in) / c_in
    return round(macs(data) * factor)


def _up(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK


def _moved(data: Node) -> int:
    """Elements read and written; a split writes all that it reads."""
    read = sum(math.prod(shape) for shape in data["inputs"])
    if data["op"] == "slice":
        return 2 * math.prod(data["shape"])
    return 2 * read if data["op"].startswith("split") else read + math.prod(data["shape"])
