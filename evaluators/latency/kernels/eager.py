"""From a block's traced graph to what torch runs eagerly on a CPU: every operation by itself, batch norm unfolded.

What moves no data (views) still costs a call, and is a kernel of the class "view". Convolutions are told apart as torch
chooses their code with one thread (use_mkldnn in aten/src/ATen/native/Convolution.cpp): dense 1x1 ones and small ones are
matrix products of its own, the others oneDNN's.
"""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from evaluators.cost import LINEAR, macs
from evaluators.latency.kernels.kernel import PLAIN_WORDS, Kernel, Size

if TYPE_CHECKING:
    import networkx as nx

Node = Mapping[str, Any]

_SMALL = 20_480  # elements of the input up to which a dense convolution of at most 3x3 is torch's own
_SMALL_KERNEL = 3
_VIEW = Kernel("view", 0, 0, 0, 0, Size(0, 0, 0, 0, 1, 1, 1))


def operations(graph: "nx.DiGraph[int]") -> list[Node]:
    """The operations of a graph in the order in which they run: one kernel each."""
    return [data for _, data in graph.nodes(data=True) if data["op"] not in ("input", "image")]


def eager_kernels(graph: "nx.DiGraph[int]") -> Iterator[Kernel]:
    """One kernel for each of `operations`."""
    return (_VIEW if data["view"] else _kernel(data) for data in operations(graph))


def _kernel(data: Node) -> Kernel:
    work, size = macs(data), _size(data)
    return Kernel(_kind(data), work, work, size.read + size.written, data["weights"], size)


def _kind(data: Node) -> str:
    op = str(data["op"])
    if op == "convolution":
        return _convolution_kind(data)
    if op in LINEAR:
        return "linear"
    several = len(set(data["inputs"])) > 1 and op in ("add", "mul")
    return PLAIN_WORDS.get(op, op) + ("_broadcast" if several else "")


def _convolution_kind(data: Node) -> str:
    c_in, groups, kernel = data["inputs"][0][1], data["groups"], max(data["kernel"])
    if groups > 1:
        dilated = "_dilated" if max(data["dilation"]) > 1 else ""
        return f"depthwise{dilated}" if groups == c_in else "conv_grouped"
    if kernel == 1 and max(data["stride"]) == 1:
        return "pointwise"
    small = kernel <= _SMALL_KERNEL and math.prod(data["inputs"][0]) <= _SMALL
    return "conv_small" if small else "conv_dense"


def _size(data: Node) -> Size:
    shape, source = data["shape"], data["inputs"][0]
    return Size(
        macs=macs(data),
        read=sum(map(math.prod, data["inputs"])),
        written=math.prod(shape),
        weights=data["weights"],
        c_in=source[1],
        c_out=shape[1],
        pixels=math.prod(shape[2:]),
        kernel=_first(data.get("kernel")),
        stride=_first(data.get("stride")),
        dilation=_first(data.get("dilation")),
    )


def _first(values: Any) -> int:
    return int(values[0]) if values else 1
