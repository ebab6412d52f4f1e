"""What ONNX Runtime itself says of a network: the kernels of its optimised graph, with their sizes, and their times."""

import json
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.latency.kernels import ACTIVATIONS, Size

_KERNEL = "_kernel_time"
_WARM_UP = 3
_LOWEST = 0.3
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
    """One kernel of a network: its class and size in the words of evaluators.latency.kernels, and its milliseconds."""

    kind: str
    size: Size
    ms: float


def kernel_times(path: Path, runs: int = 36, threads: int = 1) -> list[KernelTime]:
    """The kernels of an ONNX file on the CPU, timed by the runtime's profiler over `runs` runs, in order of execution.

    A kernel's time is the mean of its quickest three tenths of runs. The profiler adds some microseconds to each kernel:
    their sum is above the network's own time. Changes of shape, which move no data, are left out.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        events = _profiled(path, optimised, Path(folder), runs, threads)
        nodes = {node.name: node for node in onnx.load(optimised, load_external_data=False).graph.node}
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            found.setdefault(event["name"].removesuffix(_KERNEL), []).append(event)
    return [_timed(nodes.get(name), runs_of) for name, runs_of in found.items() if runs_of[0]["args"]["op_name"] not in _FREE]


def _profiled(path: Path, optimised: Path, folder: Path, runs: int, threads: int) -> list[dict[str, Any]]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal(source.shape, np.float32)
    for _ in range(_WARM_UP + runs):
        session.run(None, {source.name: image})
    return json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _timed(node: Any, events: Sequence[Mapping[str, Any]]) -> KernelTime:
    times = [event["dur"] * 1e-3 for event in events[_WARM_UP:] or events]
    about = events[0]["args"]
    inputs, outputs = (_shapes(about[f"{side}_type_shape"]) for side in ("input", "output"))
    attributes = {a.name: a.s.decode() or list(a.ints) or a.i for a in node.attribute} if node is not None else {}
    domain = node.domain if node is not None else ""
    kind, size = _described(about["op_name"], domain.endswith("nchwc"), inputs, outputs, attributes)
    return KernelTime(kind, size, lowest(times))


def lowest(times: Sequence[float]) -> float:
    """The mean of the quickest three tenths of a kernel's runs: other work on the machine only adds time."""
    return statistics.fmean(sorted(times)[: max(1, int(_LOWEST * len(times)))])


def _shapes(described: Sequence[Mapping[str, Shape]]) -> list[Shape]:
    return [shape for entry in described for shape in entry.values()]


def _described(
    op: str, blocked: bool, inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Mapping[str, Any]
) -> tuple[str, Size]:
    if op in ("Conv", "FusedConv"):
        return _convolution(blocked, inputs, outputs[0], attributes)
    kind = _KINDS.get(op, op.lower())
    if blocked and not kind.startswith("reorder"):
        kind += "_blocked"
    return kind, _size(kind, inputs, outputs, attributes)


def _convolution(blocked: bool, inputs: Sequence[Shape], out: Shape, attributes: Mapping[str, Any]) -> tuple[str, Size]:
    (_, c_in, *_), (c_out, per_group, *kernel) = inputs[0], inputs[1]
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
    return _convolution_kind(blocked, c_in, c_out, per_group, groups, size), size


def _activation(name: str) -> int:
    """The place in ACTIVATIONS of what the runtime calls Relu, Clip, HardSigmoid, HardSwish, Sigmoid, LeakyRelu, Tanh."""
    return ACTIVATIONS.index("leaky_relu" if name == "LeakyRelu" else name.lower())


def _convolution_kind(blocked: bool, c_in: int, c_out: int, per_group: int, groups: int, size: Size) -> str:
    if not blocked:
        return "depthwise_plain" if groups > 1 and per_group == 1 else "conv_plain"
    if groups > 1 and per_group == 1 and groups == c_out:
        if size.kernel == 1 and size.stride == 1:
            return "batch_norm_blocked"
        return "depthwise" if size.dilation == 1 else "depthwise_dilated"
    if groups > 1:
        return "conv_grouped"
    if c_in % 16:
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
