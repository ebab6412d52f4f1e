"""Which class of kernel an operation becomes in ONNX Runtime's int8 graph, and its size there."""

import math
from collections.abc import Sequence

from evaluators.latency.kernels.kernel import Size

_PACKED, _BLOCK, _HALF = 4, 16, 8  # products that an instruction sums, channels that it writes, and half of these


def convolution_kind(c_in: int, groups: int, kernel: Sequence[int], pixels: int) -> str:
    """The code path that the runtime takes; `pixels` of the output.

    Depthwise convolutions of channels that do not fill blocks of 16 are "ragged": they take up to three times as long.
    """
    area = math.prod(kernel)
    if groups > 1 and c_in == groups:
        return f"int8_depthwise_{kernel[0]}" + ("_ragged" if c_in % _BLOCK else "")
    if groups > 1:
        return "int8_conv_grouped"
    if c_in < _PACKED:
        return "int8_conv_stem"
    if area > 1:
        return "int8_conv_dense"
    return "int8_pointwise" if pixels > 1 else "int8_pointwise_vector"


def convolution_size(
    read: Sequence[int], written: Sequence[int], groups: int, kernel: Sequence[int], steps: tuple[int, int]
) -> Size:
    """Size of a convolution from its shapes [1, C, H, W]; `steps` are stride and dilation.

    Of a depthwise one, `macs` are in full lanes, and `c_in` is the number of channels that are taken one by one.
    """
    weights, pixels = written[1] * (read[1] // groups) * math.prod(kernel), math.prod(written[2:])
    products, c_in = weights, read[1]
    if read[1] == groups:
        products, c_in = _lanes(read[1]) * math.prod(kernel), read[1] % _HALF
    counts = products * pixels, math.prod(read), math.prod(written), weights, c_in, written[1], pixels
    return Size(*counts, kernel[0], *steps)


def _lanes(channels: int) -> int:
    """Lanes of a depthwise convolution: blocks of 16 channels, then one of 8, which takes as long; a single one takes half."""
    blocks, rest = divmod(channels, _BLOCK)
    return _BLOCK * (blocks + rest // _HALF) + _HALF * (rest % _HALF)


def linear_size(c_in: int, c_out: int) -> Size:
    return Size(c_in * c_out, c_in, c_out, c_in * c_out, c_in, c_out, 1)


def elementwise_size(read: int, written: int) -> Size:
    """Size of what takes numbers one by one, whatever their layout: elements read and written."""
    return Size(0, read, written, 0, 1, 1, 1)


def map_size(elements: tuple[int, int], read: Sequence[int], written: Sequence[int], steps: tuple[int, int] = (1, 1)) -> Size:
    """Size of a pooling, copy or concatenation: elements read and written, first shapes [1, C, H, W], kernel and stride."""
    return Size(0, *elements, 0, read[1], written[1], math.prod(written[2:]), *steps)


def padded(kind: str, size: Size) -> int:
    """MACs with channels rounded up to what instructions work on."""
    if kind.startswith("int8_depthwise"):
        return size.macs
    groups = max(1, size.c_in * size.c_out * size.kernel**2 // size.weights)
    products, each = size.weights // size.c_out, size.c_out // groups
    return groups * _up(each, _BLOCK) * _up(products, _PACKED) * size.pixels


def _up(count: int, step: int) -> int:
    return -(-count // step) * step
