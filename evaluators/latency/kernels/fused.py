"""From a block's traced graph to the kernels that ONNX Runtime runs on a CPU: what fuses, what forces a layout change.

Convolutions, with batch norm folded, work on channels in blocks ("blocked"), of 16 with AVX-512 and of 8 without. They take a
following activation and a following addition with them, and the padding with zeros before them; poolings and plain elementwise
operations keep the layout; everything else (slices, concatenation of odd widths, transposition, PReLU, broadcasting
multiplication, grouped convolution) wants NCHW ("plain"), and the tensor is reordered first. Read off
onnxruntime/core/optimizer/nchwc_transformer.cc and the optimised graphs of versions 1.31 and 1.32.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluators.cost import LINEAR, macs
from evaluators.latency.kernels.fused_sizes import (
    PLAIN,
    Node,
    convolution_kind,
    convolution_size,
    moved,
    other_size,
    padded_macs,
    reorder_size,
)
from evaluators.latency.kernels.kernel import ACTIVATIONS, PAD, PLAIN_WORDS, Kernel, Layout

if TYPE_CHECKING:
    import networkx as nx


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


def fused_kernels(graph: "nx.DiGraph[int]", layout: Layout, block: int) -> tuple[tuple[Kernel, ...], Layout]:
    """The kernels of a graph, with channels in blocks of `block`, whose input comes in `layout`; the layout of its output."""
    lowering = _Lowering(graph, layout, block)
    return tuple(lowering.kernels()), lowering.out_layout


class _Lowering:
    """One pass over a graph in order.

    `_layouts` holds in which layouts each tensor is at hand, `_made` the one it was written in: only that decides whether
    what follows keeps it, as the runtime lays out before it knows which reordered copies there will be.
    """

    def __init__(self, graph: "nx.DiGraph[int]", layout: Layout, block: int) -> None:
        self._graph, self._block = graph, block
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
        data, readers = self._graph.nodes[node], list(self._graph.successors(node))
        if data["op"] != PAD or data["shape"][1] != data["inputs"][0][1] or not readers:
            return False
        return all(self._graph.nodes[r]["op"] == "convolution" for r in readers)

    def _convolution(self, node: int, data: Node) -> Iterator[Kernel]:
        [read] = self._graph.predecessors(node)
        if self._pads_convolution(read):
            data = {**data, "inputs": self._graph.nodes[read]["inputs"]}
        kind = convolution_kind(data, self._block)
        layout: Layout = "plain" if kind in PLAIN else "blocked"
        yield from self._reorder(self._sources(node), "plain" if kind == "conv_stem" else layout)
        residual = self._fuse(node, layout)
        self._place(node, layout)
        size = convolution_size(data, kind, layout, residual is not None, self._block)
        size = size._replace(activation=self._activation(node))
        yield Kernel(kind, macs(data), padded_macs(data, kind, self._block), moved(data), data["weights"], size)

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
        size = other_size(data, layout, self._block)
        if data["op"] in LINEAR:
            yield Kernel("linear", macs(data), macs(data), moved(data), data["weights"], size)
        elif data["op"] == "native_batch_norm" and layout == "blocked":  # runs as a depthwise 1x1 convolution
            self._absorb(node, node, _FUSED_ACTIVATIONS)
            size = size._replace(macs=size.written, weights=size.c_out, activation=self._activation(node))
            yield Kernel("batch_norm_blocked", 0, 0, moved(data), data["weights"], size)
        else:
            for kind in _PARTS.get(data["op"], (PLAIN_WORDS.get(data["op"], str(data["op"])),)):
                suffix = "_blocked" if kind in _BY_LAYOUT and layout == "blocked" else ""
                read = size.read * (2 if kind == "mul" and data["op"] != "mul" else 1)
                yield Kernel(kind + suffix, 0, 0, moved(data), 0, size._replace(read=read))

    def _keeps_blocked(self, node: int, data: Node) -> bool:
        blocked = all(self._made[s] == "blocked" for s in self._sources(node))
        same = all(shape == data["inputs"][0] for shape in data["inputs"])
        if data["op"] in _POOLINGS:
            whole = data["inputs"][0][1] % self._block == 0
            return bool(whole and not (data["op"] == "avg_pool2d" and data.get("ceil_mode")))
        if data["op"] == "mean":
            return bool(blocked and data["inputs"][0][1] % self._block == 0)
        if data["op"] == "cat":
            return blocked and all(shape[1] % self._block == 0 for shape in data["inputs"])
        return data["op"] in _ANY_LAYOUT and blocked and same

    def _reorder(self, sources: list[int], layout: Layout) -> Iterator[Kernel]:
        for source in sources:
            if layout not in self._layouts[source]:
                if not self._graph.nodes[source]["op"].startswith("split"):  # one node, several tensors
                    self._layouts[source].add(layout)
                shape = self._graph.nodes[source]["shape"]
                yield Kernel(f"reorder_{layout}", 0, 0, 2 * math.prod(shape), 0, reorder_size(shape, layout, self._block))

    def _sources(self, node: int) -> list[int]:
        """What a node reads, before padding that it does itself."""
        sources = sorted(self._graph.predecessors(node))
        return [next(self._graph.predecessors(s)) if self._pads_convolution(s) else s for s in sources]
