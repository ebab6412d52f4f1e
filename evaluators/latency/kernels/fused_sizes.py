"""Which class of kernel an operation becomes in ONNX Runtime, and its size there, with channels in blocks of `block`."""

import math
from collections.abc import Mapping
from typing import Any

from evaluators.cost import macs
from evaluators.latency.kernels.kernel import Layout, Size

Node = Mapping[str, Any]
PLAIN = ("conv_plain", "depthwise_plain")  # convolutions that work on NCHW
_ALIGNED = 4


def convolution_kind(data: Node, block: int) -> str:
    """The code path that ONNX Runtime takes: its class of kernel."""
    c_in, c_out, groups = data["inputs"][0][1], data["shape"][1], data["groups"]
    per_group = c_in // groups
    if groups > 1:
        if per_group == 1 and c_out == groups and c_out % _ALIGNED == 0:
            return "depthwise" if max(data["dilation"]) == 1 else "depthwise_dilated"
        whole = per_group % block == 0 and (c_out // groups) % block == 0
        return "conv_grouped" if whole else "depthwise_plain" if per_group == 1 else "conv_plain"
    if c_in < block:
        return "conv_stem"
    if c_in % _ALIGNED:
        return "conv_plain"
    if max(data["kernel"]) > 1:
        return "conv_dense"
    return "pointwise" if math.prod(data["shape"][2:]) > 1 else "pointwise_vector"


def convolution_size(data: Node, kind: str, layout: Layout, added: bool, block: int) -> Size:
    c_in = data["inputs"][0][1] if kind == "conv_stem" else _in(layout, data["inputs"][0][1], block)
    c_out, pixels = _in(layout, data["shape"][1], block), math.prod(data["shape"][2:])
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


def other_size(data: Node, layout: Layout, block: int) -> Size:
    """The size of what is no convolution; a slice reads what it writes, a split writes what it reads."""
    written = _elements(data["shape"], layout, block)
    read = written if data["op"] == "slice" else sum(_elements(shape, layout, block) for shape in data["inputs"])
    written = read if data["op"].startswith("split") else written
    work = macs(data)
    return Size(
        macs=work,
        read=read,
        written=written,
        weights=work,
        c_in=_in(layout, data["inputs"][0][1], block),
        c_out=_in(layout, data["shape"][1], block),
        pixels=math.prod(data["shape"][2:]),
        kernel=data["kernel"][0] if data.get("kernel") else 1,
        stride=data["stride"][0] if data.get("stride") else 1,
    )


def reorder_size(shape: tuple[int, ...], layout: Layout, block: int) -> Size:
    plain, blocked = math.prod(shape), _elements(shape, "blocked", block)
    read, written = (plain, blocked) if layout == "blocked" else (blocked, plain)
    c_in, c_out = (shape[1], _up(shape[1], block)) if layout == "blocked" else (_up(shape[1], block), shape[1])
    return Size(0, read, written, 0, c_in, c_out, math.prod(shape[2:]))


def _elements(shape: tuple[int, ...], layout: Layout, block: int) -> int:
    return _in(layout, shape[1], block) * math.prod(shape[2:]) * shape[0] if len(shape) > 1 else math.prod(shape)


def _in(layout: Layout, channels: int, block: int) -> int:
    return _up(channels, block) if layout == "blocked" else channels


def padded_macs(data: Node, kind: str, block: int) -> int:
    """MACs with channels rounded up to full blocks."""
    if kind in (*PLAIN, "conv_grouped"):
        return macs(data)
    c_in, c_out = data["inputs"][0][1], data["shape"][1]
    factor = _up(c_out, block) / c_out
    if not kind.startswith("depthwise") and kind != "conv_stem":
        factor *= _up(c_in, block) / c_in
    return round(macs(data) * factor)


def _up(channels: int, block: int) -> int:
    return -(-channels // block) * block


def moved(data: Node) -> int:
    """Elements read and written; a split writes all that it reads."""
    read = sum(math.prod(shape) for shape in data["inputs"])
    if data["op"] == "slice":
        return 2 * math.prod(data["shape"])
    return 2 * read if data["op"].startswith("split") else read + math.prod(data["shape"])
