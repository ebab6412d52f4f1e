"""max_pool: the pooling that follows the stem of ShuffleNet."""

from typing import Literal

from torch import Tensor, nn

from search_spaces.registry import block


@block("max_pool")
class MaxPool(nn.Module):
    """Max pooling, padded by half the kernel; keeps the width."""

    def __init__(self, c_in: int, stride: int, *, kernel: Literal[2, 3] = 3) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(kernel, stride, padding=(kernel - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)  # type: ignore[no-any-return]
