"""Padding of convolutions and poolings: symmetric, TensorFlow's `same`, or a number of pixels."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import pad

Padding = Literal["symmetric", "same", "0", "1", "2", "3"]


def padded(x: Tensor, kernel: int, stride: int, padding: Padding, value: float = 0.0) -> tuple[Tensor, int]:
    """x [N, C, H, W], padded where the padding is asymmetric, and the pixels still to be padded on all four sides.

    `symmetric` is (kernel - 1) // 2. `same` is TensorFlow's: as much as gives ceil(size / stride) pixels, an odd pixel of
    it at the lower and right edge.
    """
    if padding != "same":
        return x, (kernel - 1) // 2 if padding == "symmetric" else int(padding)
    rows, cols = same(x, kernel, stride)
    if rows == cols and rows % 2 == 0:
        return x, rows // 2
    return pad(x, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2), value=value), 0


def same(x: Tensor, kernel: int, stride: int) -> tuple[int, int]:
    """How many rows and columns of padding x [N, C, H, W] gets by TensorFlow's rule, both edges together."""
    rows, cols = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
    return rows, cols
