"""Padding of convolutions and pooling: symmetric, TensorFlow's `same`, or a number of pixels."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import pad

Padding = Literal["symmetric", "same", "0", "1", "2", "3"]


def padded(x: Tensor, kernel: int, stride: int, padding: Padding, value: float = 0.0) -> tuple[Tensor, int]:
    """x [N, C, H, W], padded if the padding is asymmetric, and the symmetric padding left to apply, in pixels.

    `symmetric` is (kernel - 1) // 2. `same` is TensorFlow's: the output has ceil(size / stride) pixels, and an odd pixel of
    padding goes to the bottom and right.
    """
    if padding != "same":
        return x, (kernel - 1) // 2 if padding == "symmetric" else int(padding)
    rows, cols = same(x, kernel, stride)
    if rows == cols and rows % 2 == 0:
        return x, rows // 2
    return pad(x, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2), value=value), 0


def same(x: Tensor, kernel: int, stride: int) -> tuple[int, int]:
    """Total rows and columns of padding for x [N, C, H, W] by TensorFlow's rule."""
    rows, cols = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
    return rows, cols
