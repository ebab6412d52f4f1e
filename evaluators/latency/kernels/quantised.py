"""From a block's traced graph to the kernels of ONNX Runtime's int8 graph on a CPU: what runs in int8, what does not.

Convolutions and linear layers run in int8 and take batch norm, ReLU and ReLU6 with them, the latter as the limits of their
output's range. Additions, products, concatenations and poolings have int8 kernels of their own. Everything else is
dequantised, computed in float32 and quantised again: hard sigmoid, PReLU, padding, batch norm that follows no convolution;
hard swish is a hard sigmoid and an int8 product. Read off the optimised graphs of version 1.32.

Not modelled: transpositions between the layouts NHWC (of int8 convolutions) and NCHW, which the runtime moves and cancels
across blocks, the conversion of the image, and that of constants.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evaluators.cost import LINEAR, macs
from evaluators.latency.kernels.fused_sizes import BLOCK, Node, moved, other_size
from evaluators.latency.kernels.kernel import PAD, PLAIN_WORDS, Kernel, Size

if TYPE_CHECKING:
    import networkx as nx

_PACKED = 4  # products that an instruction sums
_BLOCK = BLOCK
_LIMITS = frozenset(["relu", "hardtanh", "clamp"])
_FREE = frozenset(
    ["view", "_unsafe_view", "alias", "detach", "squeeze", "unsqueeze", "flatten", "reshape", "contiguous", "clone", "empty"]
) | {"lift_fresh"}
_INT8 = frozenset(["add", "mul", "cat", "mean", "avg_pool2d", "max_pool2d_with_indices", "sigmoid", "leaky_relu"])
_MOVED = frozenset(["slice", "split", "split_with_sizes", "transpose", "permute"])  # of int8 without computing
_PARTS = {"hardswish": ("float:hardsigmoid", "int8:mul"), "silu": ("int8:sigmoid", "int8:mul")}


def quantised_kernels(graph: "nx.DiGraph[int]") -> Iterator[Kernel]:
    """The kernels of a graph, in order."""
    absorbed: set[int] = set()
    for node, data in graph.nodes(data=True):
        op = str(data["op"])
        if op in ("input", "image") or node in absorbed or op in _FREE or op in _LIMITS or _pads(graph, node):
            continue
        if op == "convolution" or op in LINEAR:
            absorbed |= _followers(graph, node)
            yield _product(graph, node, data)
        else:
            yield from _other(op, data)


def _pads(graph: "nx.DiGraph[int]", node: int) -> bool:
    """Whether a node pads heights and widths with zeros for convolutions, which then do that themselves."""
    data, readers = graph.nodes[node], list(graph.successors(node))
    if data["op"] != PAD or data["shape"][1] != data["inputs"][0][1] or not readers:
        return False
    return all(graph.nodes[reader]["op"] == "convolution" for reader in readers)


def _followers(graph: "nx.DiGraph[int]", node: int) -> set[int]:
    """The batch norm behind a convolution."""
    readers = list(graph.successors(node))
    return set(readers) if len(readers) == 1 and graph.nodes[readers[0]]["op"] == "native_batch_norm" else set()


def _product(graph: "nx.DiGraph[int]", node: int, data: Node) -> Kernel:
    """A convolution or linear layer."""
    if data["op"] in LINEAR:
        size = other_size(data, "plain")
        padded = _up(size.c_in, _PACKED) * _up(size.c_out, _BLOCK)
        return Kernel("int8_linear", macs(data), padded, moved(data), data["weights"], size)
    (c_in, c_out, groups), pixels = (data["inputs"][0][1], data["shape"][1], data["groups"]), math.prod(data["shape"][2:])
    area, per_group = math.prod(data["kernel"]), c_in // groups
    if groups > 1 and per_group == 1:
        kind, padded = f"int8_depthwise_{data['kernel'][0]}", _up(c_out, _BLOCK) * area
    else:
        padded = groups * _up(per_group * area, _PACKED) * _up(c_out // groups, _BLOCK)
        kind = _dense_kind(c_in, groups, area, pixels)
    read = math.prod(data["inputs"][0])
    size = Size(macs(data), read, c_out * pixels, data["weights"], c_in, c_out, pixels, data["kernel"][0], *_steps(data))
    return Kernel(kind, macs(data), padded * pixels, moved(data), data["weights"], size)


def _dense_kind(c_in: int, groups: int, area: int, pixels: int) -> str:
    if groups > 1:
        return "int8_conv_grouped"
    if c_in < _PACKED:
        return "int8_conv_stem"
    if area > 1:
        return "int8_conv_dense"
    return "int8_pointwise" if pixels > 1 else "int8_pointwise_vector"


def _steps(data: Node) -> tuple[int, int]:
    return data["stride"][0], data["dilation"][0]


def _other(op: str, data: Node) -> Iterator[Kernel]:
    """What is no product: in int8, moved in int8, or in float32 between two conversions."""
    if op in _MOVED:
        yield _plain(PLAIN_WORDS.get(op, op), data)
        return
    for part in _PARTS.get(op, (f"int8:{op}" if op in _INT8 else f"float:{op}",)):
        where, _, name = part.partition(":")
        name = PLAIN_WORDS.get(name, name)
        if where == "int8":
            yield _plain(f"int8_{name}", data)
        else:
            yield _plain("dequantize", data)
            yield _plain(name, data)
            yield _plain("quantize", data)


def _plain(kind: str, data: Node) -> Kernel:
    return Kernel(kind, 0, 0, moved(data), 0, other_size(data, "plain"))


def _up(count: int, step: int) -> int:
    return -(-count // step) * step
