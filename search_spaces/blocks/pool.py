"""max_pool, avg_pool: local pooling."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from search_spaces.ops.padding import Padding, padded
from search_spaces.registry import block

Kernel = Literal[2, 3, 5]


@block("max_pool")
class MaxPool(nn.Module):
    """Max pooling; keeps the width.

    The window is `kernel` pixels wide, at most the size of the feature map. `ceil=yes` rounds the output size up, as in Caffe.
    """

    def __init__(self, stride: int, *, kernel: Kernel = 3, padding: Padding = "symmetric", ceil: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.ceil = kernel, stride, padding, ceil

    def forward(self, x: Tensor) -> Tensor:
        x, around = padded(x, self.kernel, self.stride, self.padding, float("-inf"))
        kernel = min(self.kernel, *(size + 2 * around for size in x.shape[2:]))
        return max_pool2d(x, kernel, self.stride, min(around, kernel // 2), ceil_mode=self.ceil)


@block("avg_pool")
class AvgPool(nn.Module):
    """Average pooling, including padded zeros; keeps the width.

    The window is `kernel` pixels wide, at most the size of the feature map. `ceil=yes` rounds the output size up.
    """

    def __init__(self, stride: int, *, kernel: Kernel = 3, padding: Padding = "symmetric", ceil: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.ceil = kernel, stride, padding, ceil

    def forward(self, x: Tensor) -> Tensor:
        x, around = padded(x, self.kernel, self.stride, self.padding)
        kernel = min(self.kernel, *(size + 2 * around for size in x.shape[2:]))
        return avg_pool2d(x, kernel, self.stride, min(around, kernel // 2), ceil_mode=self.ceil)
