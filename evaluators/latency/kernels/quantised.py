"""From a block's traced graph to the kernels of ONNX Runtime's int8 graph on a CPU: what runs in int8, what does not.

Convolutions and linear layers run in int8 and take batch norm, ReLU and ReLU6 with them, the latter as the limits of their
output's range. Additions, products, concatenations and poolings have int8 kernels of their own. Everything else is
dequantised, computed in float32 and quantised again: hard sigmoid, PReLU, padding, batch norm that follows no convolution;
hard swish is a hard sigmoid and an int8 product. Convolutions work on NHWC; what follows keeps the layout, except for batch
norm, changes of shape, and what combines both layouts, which are in NCHW ("plain"). Read off the optimised graphs of version
1.32.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evaluators.cost import LINEAR, macs
from evaluators.latency.kernels.fused_sizes import Node, moved
from evaluators.latency.kernels.kernel import PAD, PLAIN_WORDS, Kernel, Layout
from evaluators.latency.kernels.quantised_sizes import (
    convolution_kind,
    convolution_size,
    elementwise_size,
    linear_size,
    map_size,
    padded,
)

if TYPE_CHECKING:
    import networkx as nx

_LIMITS = frozenset(["relu", "hardtanh", "clamp"])
_FREE = frozenset(
    ["view", "_unsafe_view", "alias", "detach", "squeeze", "unsqueeze", "flatten", "reshape", "contiguous", "clone", "empty"]
) | {"lift_fresh"}
_INT8 = frozenset(["add", "mul", "cat", "mean", "avg_pool2d", "max_pool2d_with_indices", "sigmoid", "leaky_relu"])
_MAX_POOL = "max_pool2d_with_indices"
_POOLS = frozenset(["mean", "avg_pool2d", _MAX_POOL])
_SHAPES = frozenset(["view", "_unsafe_view", "reshape", "flatten"])
_TURNS = frozenset(["transpose", "permute"])
_BY_LAYOUT = frozenset(["cat", "split", "split_with_sizes", _MAX_POOL, "_prelu_kernel", PAD]) | _TURNS
_MAPS = frozenset(["avg_pool2d", "slice"]) | _BY_LAYOUT  # time depends on channels and pixels
_COPIES = frozenset(["slice", "split", "split_with_sizes"]) | _TURNS  # int8 numbers, without computing
_PARTS = {"hardswish": ("float:hardsigmoid", "int8:mul"), "silu": ("int8:sigmoid", "int8:mul")}


def quantised_kernels(graph: "nx.DiGraph[int]", layout: Layout, first: bool) -> tuple[tuple[Kernel, ...], Layout]:
    """The kernels of a graph whose input comes in `layout`, and the layout of its output; `first`: it reads the image."""
    lowering = _Lowering(graph, layout)
    image = [_moving("quantize", graph.nodes[n]["shape"]) for n, op in graph.nodes(data="op") if op == "input" and first]
    return (*image, *lowering.kernels()), lowering.out_layout


class _Lowering:
    """One pass over a graph in order; `_layouts` holds in which layouts each tensor is at hand, the first as it was written."""

    def __init__(self, graph: "nx.DiGraph[int]", layout: Layout) -> None:
        self._graph = graph
        self._layouts: dict[int, list[Layout]] = {
            node: [layout if op == "input" else "plain"] for node, op in graph.nodes(data="op") if op in ("input", "image")
        }
        self._back: dict[int, int] = {}  # how many outputs of a node would have to be transposed back to NCHW
        for node in reversed(list(graph.nodes)):
            self._back[node] = self._transposed(node)

    @property
    def out_layout(self) -> Layout:
        return self._layouts[self._graph.graph["output"]][0]

    def kernels(self) -> Iterator[Kernel]:
        for node, data in self._graph.nodes(data=True):
            if node in self._layouts:
                continue
            op, sources = str(data["op"]), self._sources(node)
            if op == "convolution":
                yield from self._reorder(sources, "nhwc")
                self._layouts[node] = ["nhwc"]
                yield _convolution(data, self._graph.nodes[sources[0]]["shape"])
                self._absorb_norm(node)
            elif op in _FREE or op in _LIMITS or self._pads(node):
                self._layouts[node] = self._layouts[sources[0]]
            elif op in LINEAR:
                self._layouts[node] = ["plain"]
                size = linear_size(math.prod(data["inputs"][0]), math.prod(data["shape"]))
                yield Kernel("int8_linear", macs(data), padded("int8_linear", size), moved(data), data["weights"], size)
            else:
                yield from self._other(node, op, data, sources)

    def _absorb_norm(self, node: int) -> None:
        readers = list(self._graph.successors(node))
        if len(readers) == 1 and self._graph.nodes[readers[0]]["op"] == "native_batch_norm":
            self._layouts[readers[0]] = self._layouts[node]

    def _other(self, node: int, op: str, data: Node, sources: list[int]) -> Iterator[Kernel]:
        """What is no product: in int8, copied, or in float32 between two conversions."""
        layout = self._common(node, op, sources)
        yield from self._reorder(sources, layout)
        self._layouts[node] = ["plain" if op in _TURNS else layout]
        suffix = f"_{layout}" if op in _BY_LAYOUT else ""
        parts = (f"int8:{op}",) if op in _INT8 else ("copied:" + op,) if op in _COPIES else (f"float:{op}",)
        for part in _PARTS.get(op, parts):
            where, _, name = part.partition(":")
            kind = PLAIN_WORDS.get(name, name) + suffix
            both = 2 if name == "mul" and op != "mul" else 1
            if where == "float":
                yield from _converted("dequantize", data["inputs"][0])
                yield _other(kind, data)
                yield from _converted("quantize", data["shape"])
            else:
                yield _other(kind if where == "copied" else f"int8_{kind}", data, both)

    def _common(self, node: int, op: str, sources: list[int]) -> Layout:
        """The layout that an operation works in.

        The runtime's optimiser moves transpositions behind an operation if that leaves fewer of them: those of its inputs go,
        inputs in the other layout need one, and each output does unless it leads to a convolution, where two cancel.
        """
        nhwc = sum(self._layouts[source][0] == "nhwc" for source in sources)
        if op == "native_batch_norm" or not nhwc or self._padded_pooling(node, op, sources):
            return "plain"
        if op in _POOLS | _TURNS or len(sources) - 2 * nhwc + self._back[node] < 0:
            return "nhwc"
        return "plain"

    def _padded_pooling(self, node: int, op: str, sources: list[int]) -> bool:
        """Whether a node is a maximum pooling of a padded map, or that padding: neither has a kernel for NHWC there."""
        first, last = (sources[0], node) if op == _MAX_POOL else (node, next(iter(self._graph.successors(node)), node))
        return self._graph.nodes[first]["op"] == PAD and self._graph.nodes[last]["op"] == _MAX_POOL

    def _transposed(self, node: int) -> int:
        """The entry of `_back`, from those of the node's readers; none for a block's output, whose reader is not known."""
        if node == self._graph.graph["output"]:
            return 0
        back = [not self._leads_to_convolution(reader) for reader in self._graph.successors(node)]
        return sum(back) if str(self._graph.nodes[node]["op"]).startswith("split") else int(any(back))

    def _leads_to_convolution(self, node: int) -> bool:
        op = self._graph.nodes[node]["op"]
        if op == "convolution":
            return True
        return op != "native_batch_norm" and op not in _SHAPES and op not in LINEAR and not self._back[node]

    def _pads(self, node: int) -> bool:
        """Whether a node pads heights and widths with zeros for convolutions, which then do that themselves."""
        data, readers = self._graph.nodes[node], list(self._graph.successors(node))
        if data["op"] != PAD or data["shape"][1] != data["inputs"][0][1] or not readers:
            return False
        return all(self._graph.nodes[reader]["op"] == "convolution" for reader in readers)

    def _reorder(self, sources: list[int], layout: Layout) -> Iterator[Kernel]:
        for source in sources:
            shape = self._graph.nodes[source]["shape"]
            if layout not in self._layouts[source] and len(shape) == 4 and math.prod(shape[2:]) > 1:
                if not str(self._graph.nodes[source]["op"]).startswith("split"):  # one node, several tensors
                    self._layouts[source] = [*self._layouts[source], layout]
                yield _moving(f"to_{layout}", shape)

    def _sources(self, node: int) -> list[int]:
        """What a node reads, before padding that it does itself."""
        sources = sorted(self._graph.predecessors(node))
        return [next(iter(self._graph.predecessors(s))) if self._pads(s) else s for s in sources]


def _convolution(data: Node, read: tuple[int, ...]) -> Kernel:
    """The kernel of a convolution of a tensor of shape `read`, which it may pad itself."""
    kind = convolution_kind(data["inputs"][0][1], data["groups"], tuple(data["kernel"]), math.prod(data["shape"][2:]))
    steps = data["stride"][0], data["dilation"][0]
    size = convolution_size(read, data["shape"], data["groups"], tuple(data["kernel"]), steps)
    return Kernel(kind, macs(data), padded(kind, size), moved(data), data["weights"], size)


def _other(kind: str, data: Node, times: int = 1) -> Kernel:
    written = math.prod(data["shape"])
    read = written if data["op"] == "slice" else times * sum(math.prod(shape) for shape in data["inputs"])
    written = read if str(data["op"]).startswith("split") else written
    steps = (data["kernel"][0] if data.get("kernel") else 1, data["stride"][0] if data.get("stride") else 1)
    size = elementwise_size(read, written)
    if data["op"] in _MAPS - _TURNS:
        size = map_size((read, written), data["inputs"][0], data["shape"], steps)
    return Kernel(kind, 0, 0, read + written, 0, size)


def _converted(kind: str, shape: tuple[int, ...]) -> Iterator[Kernel]:
    """A conversion of a map; those of vectors take next to no time."""
    if len(shape) == 4:
        yield _moving(kind, shape)


def _moving(kind: str, shape: tuple[int, ...]) -> Kernel:
    count = math.prod(shape)
    return Kernel(kind, 0, 0, 2 * count, 0, elementwise_size(count, count))
