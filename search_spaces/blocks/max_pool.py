"""max_pool: the pooling that follows the stem of ShuffleNet."""

from torch import Tensor, nn

from search_spaces.registry import block


@block("max_pool")
class MaxPool(nn.Module):
    """Max pooling over 3x3, padded by 1; keeps the width."""

    def __init__(self, c_in: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)  # type: ignore[no-any-return]
