"""From a block's traced graph to the kernels that ONNX Runtime runs on a CPU: what fuses, what forces a layout change.

Convolutions, with batch norm folded, work on channels in blocks of 16 ("blocked") and take a following activation and a
following addition with them, and the padding with zeros before them; poolings and plain elementwise operations keep the
layout; everything else (slices, concatenation of odd widths, transposition, PReLU, broadcasting multiplication, grouped
convolution) wants NCHW ("plain"), and the tensor is reordered first. A runtime that fuses nothing runs another graph
(evaluators.latency.kernels.eager), and says so in its file. Read off onnxruntime/core/optimizer/nchwc_transformer.cc and the
optimised graphs of version 1.31.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from evaluators.cost import LINEAR, macs
from evaluators.latency.kernels.kernel import PAD, PLAIN_WORDS, Kernel, Size
from evaluators.latency.runtime import Graph
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    import networkx as nx

Layout = Literal["plain", "blocked"]
Node = Mapping[str, Any]

LOWERING = 4  # the version of this file's rules: profiles made by another one are lowered again when they are used
PLAIN = ("conv_plain", "depthwise_plain")  # convolutions that work on NCHW
_BLOCK = 16
_ALIGNED = 4
# What a convolution takes with it: it is cheap or dear, so a kernel's size says which, by its place here.
ACTIVATIONS = ("none", "relu", "clip", "hardsigmoid", "hardswish", "sigmoid", "leaky_relu", "tanh")
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
    ]
)
_BY_LAYOUT = frozenset(["max_pool", "average_pool", "global_pool"])  # other code for blocks than for NCHW
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

_FUSED_ACTIVATIONS = frozenset(["hardtanh", "clamp", *ACTIVATIONS[1:]]) - {"clip"}
# An operation that the runtime takes apart where it cannot fuse it.
_PARTS = {"hardswish": ("hardsigmoid", "mul")}


"""Of operations, elements or channels, as files may have it."""


FEATURES = ("count", "macs", "padded", "moved", "weights")


@dataclass(frozen=True)
class Lowered:
    """A block's kernels, and summed by class as rows of FEATURES; the shape and layout of what it hands on."""

    kernels: tuple[Kernel, ...]
    totals: Mapping[str, tuple[int, ...]]
    out_shape: tuple[int, ...]
    out_layout: Layout


def lowered_blocks(genotype: Genotype, task: Task, kind: Graph = "fused") -> list[Lowered]:
    """Every block's kernels in its place, from the cache where the same block was met before."""
    found: list[Lowered] = []
    shape: tuple[int, ...] = task.input
    layout: Layout = "plain"
    for spec in genotype.blocks:
        found.append(lower_block(spec, shape, task.input, task.classes, layout, kind))  # type: ignore[arg-type]
        shape, layout = found[-1].out_shape, found[-1].out_layout
    return found


def total_kernels(genotype: Genotype, task: Task, kind: Graph = "fused") -> dict[str, tuple[int, ...]]:
    """A network's kernels, summed by class: rows of FEATURES."""
    totals: dict[str, tuple[int, ...]] = {}
    for lowered in lowered_blocks(genotype, task, kind):
        for name, row in lowered.totals.items():
            totals[name] = _add(totals.get(name), row)
    return totals


def _add(total: tuple[int, ...] | None, row: tuple[int, ...]) -> tuple[int, ...]:
    return row if total is None else tuple(map(sum, zip(total, row, strict=True)))


@lru_cache(maxsize=2**17)
def lower_block(
    spec: BlockSpec,
    in_shape: tuple[int, int, int],
    image: tuple[int, int, int],
    classes: int,
    layout: Layout,
    kind: Graph = "fused",
) -> Lowered:
    """The kernels of one block whose input comes in `layout`, in the graph that the runtime runs."""
    from evaluators.graph import block_graph  # imports torch

    graph = block_graph(spec, in_shape, image, classes)
    kernels, out_layout = _kernels(graph, layout, kind)
    totals: dict[str, tuple[int, ...]] = {}
    for kernel in kernels:
        row = (1, kernel.macs, kernel.padded, kernel.moved, kernel.weights)
        totals[kernel.kind] = _add(totals.get(kernel.kind), row)
    return Lowered(kernels, totals, graph.graph["out_shape"], out_layout)


def _kernels(graph: "nx.DiGraph[int]", layout: Layout, kind: Graph) -> tuple[tuple[Kernel, ...], Layout]:
    """The kernels of a graph, and the layout of what it hands on."""
    if kind == "eager":
        from evaluators.latency.kernels.eager import eager_kernels

        return tuple(eager_kernels(graph)), "plain"
    lowering = _Lowering(graph, layout)
    return tuple(lowering.kernels()), lowering.out_layout


class _Lowering:
    """One pass over a graph in order.

    `_layouts` holds in which layouts each tensor is at hand, `_made` the one it was written in: only that decides whether
    what follows keeps it, as the runtime lays out before it knows which reordered copies there will be.
    """

    def __init__(self, graph: "nx.DiGraph[int]", layout: Layout) -> None:
        self._graph = graph
        self._layouts: dict[int, set[str]] = {}
        self._made: dict[int, Layout] = {}
        self._absorbed: dict[int, int] = {}  # nodes that became part of the kernel of an earlier one
        for node, data in graph.nodes(data=True):
            if data["op"] in ("input", "image"):
                self._place(node, layout if data["op"] == "input" else "plain")

    def _place(self, node: int, layout: Layout) -> None:
        self._made[node] = layout
        self._layouts[node] = {layout}

    @property
    def out_layout(self) -> Layout:
        return self._made[self._graph.graph["output"]]

    def kernels(self) -> Iterator[Kernel]:
        for node, data in self._graph.nodes(data=True):
            if node in self._layouts or node in self._absorbed:
                continue
            if data["op"] == "convolution":
                yield from self._convolution(node, data)
            elif self._pads_convolution(node):
                continue
            elif data["op"] in _FREE:
                yield from self._free(node, data)
            else:
                yield from self._other(node, data)
            for absorbed in [n for n, into in self._absorbed.items() if into == node]:
                self._layouts[absorbed] = self._layouts[node]
                self._made[absorbed] = self._made[node]

    def _pads_convolution(self, node: int) -> bool:
        """Whether a node pads heights and widths with zeros for convolutions, which then do that themselves."""
        data, readers = self._graph.nodes[node], self._graph.successors(node)
        if data["op"] != PAD or data["shape"][1] != data["inputs"][0][1]:
            return False
        return all(self._graph.nodes[r]["op"] == "convolution" for r in readers)

    def _convolution(self, node: int, data: Node) -> Iterator[Kernel]:
        [read] = self._graph.predecessors(node)
        if self._pads_convolution(read):
            data = {**data, "inputs": self._graph.nodes[read]["inputs"]}
        kind = _convolution_kind(data)
        layout: Layout = "plain" if kind in PLAIN else "blocked"
        yield from self._reorder(self._sources(node), "plain" if kind == "conv_stem" else layout)
        residual = self._fuse(node, layout)
        self._place(node, layout)
        size = _convolution_size(data, kind, layout, residual is not None)._replace(activation=self._activation(node))
        yield Kernel(kind, macs(data), _padded(data, kind), _moved(data), data["weights"], size)

    def _fuse(self, node: int, layout: Layout) -> int | None:
        """Absorbs batch norm, addition, activation behind a convolution; returns the tensor that is added, if any.

        In NCHW a convolution takes an addition only if it has a bias (from batch norm), and hard swish never.
        """
        residual = None
        last = self._absorb(node, node, {"native_batch_norm"})
        added = last
        if layout == "blocked" or last != node:
            added = self._absorb(last, node, {"add"}, lambda n: self._addend(n, last, layout) is not None)
        if added != last:
            residual = self._addend(added, last, layout)
        self._absorb(added, node, _FUSED_ACTIVATIONS - ({"hardswish"} if layout == "plain" else set()))
        return residual

    def _activation(self, node: int) -> int:
        """The place in ACTIVATIONS of what the kernel of `node` absorbed."""
        absorbed = (str(self._graph.nodes[n]["op"]) for n, into in self._absorbed.items() if into == node)
        words = (PLAIN_WORDS.get(op, op) for op in absorbed if op in _FUSED_ACTIVATIONS)
        return ACTIVATIONS.index(next(words, "none"))

    def _absorb(self, last: int, into: int, ops: Any, condition: Any = lambda node: True) -> int:
        readers = list(self._graph.successors(last))
        if len(readers) != 1 or self._graph.nodes[readers[0]]["op"] not in ops or not condition(readers[0]):
            return last
        self._absorbed[readers[0]] = into
        return int(readers[0])

    def _addend(self, add: int, last: int, layout: Layout) -> int | None:
        """What `add` adds to `last`, if it has the same shape and was computed before, in the same layout."""
        others = [s for s in self._graph.predecessors(add) if s != last]
        shapes = set(self._graph.nodes[add]["inputs"])
        if len(others) == 1 and len(shapes) == 1 and self._made.get(others[0]) == layout:
            return int(others[0])
        return None

    def _free(self, node: int, data: Node) -> Iterator[Kernel]:
        """A change of shape: no work, but NCHW unless nothing changes."""
        source = self._sources(node)[0]
        if data["inputs"][0] == data["shape"]:
            self._layouts[node], self._made[node] = self._layouts[source], self._made[source]
            return
        yield from self._reorder(self._sources(node), "plain")
        self._place(node, "plain")

    def _other(self, node: int, data: Node) -> Iterator[Kernel]:
        layout: Layout = "blocked" if self._keeps_blocked(node, data) else "plain"
        yield from self._reorder(self._sources(node), layout)
        self._place(node, layout)
        size = _size(data, layout)
        if data["op"] in LINEAR:
            yield Kernel("linear", macs(data), macs(data), _moved(data), data["weights"], size)
        elif data["op"] == "native_batch_norm" and layout == "blocked":  # runs as a depthwise 1x1 convolution
            self._absorb(node, node, _FUSED_ACTIVATIONS)
            size = size._replace(macs=size.written, weights=size.c_out, activation=self._activation(node))
            yield Kernel("batch_norm_blocked", 0, 0, _moved(data), data["weights"], size)
        else:
            for kind in _PARTS.get(data["op"], (PLAIN_WORDS.get(data["op"], str(data["op"])),)):
                suffix = "_blocked" if kind in _BY_LAYOUT and layout == "blocked" else ""
                read = size.read * (2 if kind == "mul" and data["op"] != "mul" else 1)
                yield Kernel(kind + suffix, 0, 0, _moved(data), 0, size._replace(read=read))

    def _keeps_blocked(self, node: int, data: Node) -> bool:
        blocked = all(self._made[s] == "blocked" for s in self._sources(node))
        same = all(shape == data["inputs"][0] for shape in data["inputs"])
        if data["op"] in _POOLINGS:
            whole = data["inputs"][0][1] % _BLOCK == 0
            return bool(whole and not (data["op"] == "avg_pool2d" and data.get("ceil_mode")))
        if data["op"] == "mean":
            return bool(blocked and data["inputs"][0][1] % _BLOCK == 0)
        if data["op"] == "cat":
            return blocked and all(shape[1] % _BLOCK == 0 for shape in data["inputs"])
        return data["op"] in _ANY_LAYOUT and blocked and same

    def _reorder(self, sources: list[int], layout: Layout) -> Iterator[Kernel]:
        for source in sources:
            if layout not in self._layouts[source]:
                if not self._graph.nodes[source]["op"].startswith("split"):  # one node, several tensors
                    self._layouts[source].add(layout)
                shape = self._graph.nodes[source]["shape"]
                yield Kernel(f"reorder_{layout}", 0, 0, 2 * math.prod(shape), 0, _reorder_size(shape, layout))

    def _sources(self, node: int) -> list[int]:
        """What a node reads, before padding that it does itself."""
        sources = sorted(self._graph.predecessors(node))
        return [next(self._graph.predecessors(s)) if self._pads_convolution(s) else s for s in sources]


def _convolution_kind(data: Node) -> str:
    """The code path that ONNX Runtime takes: its class of kernel."""
    c_in, c_out, groups = data["inputs"][0][1], data["shape"][1], data["groups"]
    per_group = c_in // groups
    if groups > 1:
        if per_group == 1 and c_out == groups and c_out % _ALIGNED == 0:
            return "depthwise" if max(data["dilation"]) == 1 else "depthwise_dilated"
        whole = per_group % _BLOCK == 0 and (c_out // groups) % _BLOCK == 0
        return "conv_grouped" if whole else "depthwise_plain" if per_group == 1 else "conv_plain"
    if c_in < _BLOCK:
        return "conv_stem"
    if c_in % _ALIGNED:
        return "conv_plain"
    if max(data["kernel"]) > 1:
        return "conv_dense"
    return "pointwise" if math.prod(data["shape"][2:]) > 1 else "pointwise_vector"


def _convolution_size(data: Node, kind: str, layout: Layout, added: bool) -> Size:
    c_in = data["inputs"][0][1] if kind == "conv_stem" else _in(layout, data["inputs"][0][1])
    c_out, pixels = _in(layout, data["shape"][1]), math.prod(data["shape"][2:])
    per_group = 1 if kind.startswith("depthwise") else c_in // data["groups"]
    area = math.prod(data["kernel"])
    return Size(
        macs=c_out * pixels * per_group * area,
        read=c_in * math.prod(data["inputs"][0][2:]) + added * c_out * pixels,
        written=c_out * pixels,
        weights=c_out * per_group * area,
        c_in=c_in,
        c_out=c_out,
        pixels=pixels,
        kernel=data["kernel"][0],
        stride=data["stride"][0],
        dilation=data["dilation"][0],
    )


def _size(data: Node, layout: Layout) -> Size:
    """The size of what is no convolution; a slice reads what it writes, a split writes what it reads."""
    written = _elements(data["shape"], layout)
    read = written if data["op"] == "slice" else sum(_elements(shape, layout) for shape in data["inputs"])
    written = read if data["op"].startswith("split") else written
    work = macs(data)
    return Size(
        macs=work,
        read=read,
        written=written,
        weights=work,
        c_in=_in(layout, data["inputs"][0][1]),
        c_out=_in(layout, data["shape"][1]),
        pixels=math.prod(data["shape"][2:]),
        kernel=data["kernel"][0] if data.get("kernel") else 1,
        stride=data["stride"][0] if data.get("stride") else 1,
    )


def _reorder_size(shape: tuple[int, ...], layout: Layout) -> Size:
    plain, blocked = math.prod(shape), _elements(shape, "blocked")
    read, written = (plain, blocked) if layout == "blocked" else (blocked, plain)
    c_in, c_out = (shape[1], _up(shape[1])) if layout == "blocked" else (_up(shape[1]), shape[1])
    return Size(0, read, written, 0, c_in, c_out, math.prod(shape[2:]))


def _elements(shape: tuple[int, ...], layout: Layout) -> int:
    return _in(layout, shape[1]) * math.prod(shape[2:]) * shape[0] if len(shape) > 1 else math.prod(shape)


def _in(layout: Layout, channels: int) -> int:
    return _up(channels) if layout == "blocked" else channels


def _padded(data: Node, kind: str) -> int:
    """MACs with channels rounded up to full blocks."""
    if kind in (*PLAIN, "conv_grouped"):
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
