"""The kernels of ONNX Runtime's optimised int8 graph, with their sizes, and their times by the runtime's profiler."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluators.latency.kernels.kernel import Size
from evaluators.latency.kernels.onnxruntime_profile import KernelTime, read_graph
from evaluators.latency.kernels.quantised_sizes import (
    convolution_kind,
    convolution_size,
    elementwise_size,
    linear_size,
    map_size,
)
from evaluators.latency.timing.bench import profiled

_FREE = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape", "Cast"])
_LINEAR = frozenset(["QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "Gemm", "MatMul"])
_KINDS = {
    "QLinearAdd": "int8_add",
    "QLinearMul": "int8_mul",
    "QLinearConcat": "int8_cat",
    "QLinearSigmoid": "int8_sigmoid",
    "QLinearLeakyRelu": "int8_leaky_relu",
    "QLinearGlobalAveragePool": "int8_global_pool",
    "QLinearAveragePool": "int8_average_pool",
    "NhwcMaxPool": "int8_max_pool_nhwc",
    "MaxPool": "int8_max_pool_plain",
    "QuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize",
    "BatchNormalization": "batch_norm",
    "AveragePool": "average_pool",
}
_MAPS = frozenset(
    ["QLinearConcat", "Split", "Slice", "Pad", "QLinearAveragePool", "AveragePool", "NhwcMaxPool", "MaxPool", "PRelu"]
)
_TO_NHWC, _TO_PLAIN = [0, 2, 3, 1], [0, 3, 1, 2]
Shape = Sequence[int]


def kernel_times(path: Path, runs: int = 36, threads: int = 1) -> list[KernelTime]:
    """The kernels of a quantised ONNX file, timed over `runs` runs, in order of execution.

    Changes of shape, which move no data, and conversions of constants and vectors are left out.
    """
    return kernels_told(*profiled(path, threads, runs))


def kernels_told(graph: bytes, told: Sequence[Sequence[Any]]) -> list[KernelTime]:
    """What evaluators.latency.timing.bench.profiled found, in our words; raises ValueError for a graph that is none."""
    found = read_graph(graph)
    constants = {tensor.name: tensor for tensor in found.initializer}
    nodes = {node.name: node for node in found.node}
    times = [(_described(nodes.get(name), op, read, written, constants), ms) for name, op, read, written, ms in told]
    return [KernelTime(*kernel, float(ms)) for kernel, ms in times if kernel]


def _described(
    node: Any, op: str, read: Sequence[Shape], written: Sequence[Shape], constants: Mapping[str, Any]
) -> tuple[str, Size] | None:
    attributes = {a.name: list(a.ints) or a.i for a in node.attribute} if node is not None else {}
    maps = [shape for shape in read if len(shape) > 1]
    if op in _FREE or not maps:
        return None
    if op == "QLinearConv":
        return _convolution(maps[0], written[0], constants[node.input[3]].dims, attributes)
    if op in _LINEAR:
        return "int8_linear", linear_size(math.prod(maps[0]), math.prod(written[0]))
    if op in ("QuantizeLinear", "DequantizeLinear") and len(maps[0]) < 4:
        return None
    if op == "Transpose" and math.prod(maps[0]) == max(maps[0]):
        return None
    second = constants.get(node.input[1]) if op in ("Pad", "PRelu") and node is not None else None
    nhwc = _is_nhwc(op, maps[0], attributes, second)
    return _kind(op, attributes, nhwc), _size(op, maps, written, attributes, nhwc)


def _convolution(read: Shape, written: Shape, weights: Shape, attributes: Mapping[str, Any]) -> tuple[str, Size]:
    if attributes.get("channels_last"):
        read, written = ([shape[0], shape[3], *shape[1:3]] for shape in (read, written))
    groups, kernel = attributes.get("group", 1) or 1, list(weights[2:])
    steps = _first(attributes.get("strides")), _first(attributes.get("dilations"))
    kind = convolution_kind(read[1], groups, kernel, math.prod(written[2:]))
    return kind, convolution_size(read, written, groups, kernel, steps)


def _kind(op: str, attributes: Mapping[str, Any], nhwc: bool) -> str:
    if op == "Transpose":
        order = list(attributes.get("perm", []))
        known = {tuple(_TO_NHWC): "to_nhwc", tuple(_TO_PLAIN): "to_plain"}
        return known.get(tuple(order), "transpose_plain" if order[:3] == [0, 2, 1] else "transpose_nhwc")
    kind = _KINDS.get(op, op.lower())
    if op in ("QLinearConcat", "Split", "Pad", "PRelu"):
        kind += "_nhwc" if nhwc else "_plain"
    return kind


def _is_nhwc(op: str, shape: Shape, attributes: Mapping[str, Any], second: Any) -> bool:
    """Whether a kernel works on NHWC, where that can be seen.

    `second` is the constant second input, if any: heights and widths are padded, channels are not; slopes are by channel.
    """
    if second is not None and op == "PRelu":
        return bool(second.dims[-1] > 1)
    if second is not None:
        from onnx.numpy_helper import to_array

        _, first, _, last, *after = map(bool, to_array(second))
        channels, columns = first or after[1], last or after[3]
        return channels if channels or columns else shape[1] == shape[2]
    return op == "NhwcMaxPool" or bool(attributes.get("channels_last")) or attributes.get("axis") == 3


def _size(op: str, maps: Sequence[Shape], written: Sequence[Shape], attributes: Mapping[str, Any], nhwc: bool) -> Size:
    out = sum(map(math.prod, written))
    several = op in ("QLinearConcat", "QLinearAdd", "QLinearMul", "Add", "Mul", "Concat")
    read = out if op == "Slice" else sum(map(math.prod, maps if several else maps[:1]))
    if op not in _MAPS:
        return elementwise_size(read, out)
    first, last = ([s[0], s[3], *s[1:3]] if nhwc else s for s in (maps[0], written[0]))
    return map_size((read, out), first, last, (_first(attributes.get("kernel_shape")), _first(attributes.get("strides"))))


def _first(values: Any) -> int:
    return int(values[0]) if values else 1
