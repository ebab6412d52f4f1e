"""What ONNX Runtime itself says of a network: the kernels of its optimised graph, with their sizes, and their times."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.latency.kernels.kernel import ACTIVATIONS, Size
from evaluators.latency.timing.bench import profiled

_FREE = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape", "Cast"])
_KINDS = {
    "Gemm": "linear",
    "MatMul": "linear",
    "FusedGemm": "linear",
    "ReorderInput": "reorder_blocked",
    "ReorderOutput": "reorder_plain",
    "MaxPool": "max_pool",
    "AveragePool": "average_pool",
    "GlobalAveragePool": "global_pool",
    "ReduceMean": "global_pool",
    "BatchNormalization": "batch_norm",
    "QuickGelu": "silu",
    "Concat": "cat",
    "LeakyRelu": "leaky_relu",
}
Shape = Sequence[int]


@dataclass(frozen=True)
class KernelTime:
    """One kernel of a network: its class and size in the words of evaluators.latency.kernels.lowering, and its milliseconds."""

    kind: str
    size: Size
    ms: float


def kernel_times(path: Path, runs: int = 36, threads: int = 1) -> list[KernelTime]:
    """The kernels of an ONNX file on the CPU, timed by the runtime's profiler over `runs` runs, in order of execution.

    Changes of shape, which move no data, are left out.
    """
    return kernels_told(*profiled(path, threads, runs))


def kernels_told(graph: bytes, told: Sequence[Sequence[Any]]) -> list[KernelTime]:
    """What evaluators.latency.timing.bench.profiled found, in our words; raises ValueError for a graph that is none."""
    nodes = {node.name: node for node in read_graph(graph).node}
    block = _block(nodes, told)
    timed = [(nodes.get(name), op, read, written, float(ms)) for name, op, read, written, ms in told if op not in _FREE]
    return [
        KernelTime(*_described(op, block if _is_blocked(node) else None, read, written, _attributes(node)), ms)
        for node, op, read, written, ms in timed
    ]


def _block(nodes: Mapping[str, Any], told: Sequence[Sequence[Any]]) -> int:
    """Channels in a block: 8 if a tensor in blocks is no multiple of 16."""
    written = [out[0][1] for name, op, _, out, _ in told if _is_blocked(nodes.get(name)) and op != "ReorderOutput"]
    return 8 if any(channels % 16 for channels in written) else 16


def _is_blocked(node: Any) -> bool:
    return node is not None and str(node.domain).endswith("nchwc")


def read_graph(graph: bytes) -> Any:
    """The onnx.GraphProto of a serialised model; raises ValueError if it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_from_string(graph).graph
    except DecodeError:
        raise ValueError("a graph is not ONNX") from None


def _attributes(node: Any) -> dict[str, Any]:
    return {} if node is None else {a.name: a.s.decode() or list(a.ints) or a.i for a in node.attribute}


def _described(
    op: str, block: int | None, inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Mapping[str, Any]
) -> tuple[str, Size]:
    """Class and size of an operation on channels in blocks of `block`, or on NCHW."""
    if op in ("Conv", "FusedConv"):
        return _convolution(block, inputs, outputs[0], attributes)
    kind = _KINDS.get(op, op.lower())
    if block and not kind.startswith("reorder"):
        kind += "_blocked"
    return kind, _size(kind, inputs, outputs, attributes)


def _convolution(block: int | None, inputs: Sequence[Shape], out: Shape, attributes: Mapping[str, Any]) -> tuple[str, Size]:
    (_, c_in, *_), (_, per_group, *kernel) = inputs[0], inputs[1]
    groups, dilation = attributes.get("group", 1) or 1, _first(attributes.get("dilations"))
    pixels = math.prod(out[2:])
    size = Size(
        macs=out[1] * pixels * per_group * math.prod(kernel),
        read=math.prod(inputs[0]) + sum(math.prod(shape) for shape in inputs[2:] if len(shape) == len(out)),
        written=math.prod(out),
        weights=math.prod(inputs[1]),
        c_in=c_in,
        c_out=out[1],
        pixels=pixels,
        kernel=kernel[0],
        stride=_first(attributes.get("strides")),
        dilation=dilation,
        activation=_activation(attributes.get("activation") or "none"),
    )
    return _convolution_kind(block, inputs[1], groups, size), size


def _activation(name: str) -> int:
    """The place in ACTIVATIONS of what the runtime calls Relu, Clip, HardSigmoid, HardSwish, Sigmoid, LeakyRelu, Tanh."""
    return ACTIVATIONS.index("leaky_relu" if name == "LeakyRelu" else name.lower())


def _convolution_kind(block: int | None, weights: Shape, groups: int, size: Size) -> str:
    c_out, per_group = weights[:2]
    if not block:
        return "depthwise_plain" if groups > 1 and per_group == 1 else "conv_plain"
    if groups > 1 and per_group == 1 and groups == c_out:
        if size.kernel == 1 and size.stride == 1:
            return "batch_norm_blocked"
        return "depthwise" if size.dilation == 1 else "depthwise_dilated"
    if groups > 1:
        return "conv_grouped"
    if size.c_in % block:
        return "conv_stem"
    if size.kernel > 1:
        return "conv_dense"
    return "pointwise" if size.pixels > 1 else "pointwise_vector"


def _size(kind: str, inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Size:
    out, written = outputs[0], sum(math.prod(shape) for shape in outputs)
    several = kind in ("cat", "add", "mul", "sub", "div")
    read = written if kind == "slice" else sum(math.prod(shape) for shape in (inputs if several else inputs[:1]))
    c_in, c_out = (shape[1] if len(shape) > 1 else shape[0] if shape else 1 for shape in (inputs[0], out))
    weights = c_in * c_out if kind == "linear" else 0
    kernel = _first(attributes.get("kernel_shape"))
    return Size(weights, read, written, weights, c_in, c_out, math.prod(out[2:]), kernel, _first(attributes.get("strides")))


def _first(values: Any) -> int:
    return int(values[0]) if values else 1
