"""Squeeze-and-excitation (arXiv:1709.01507)."""

from typing import Literal

from torch import Tensor, nn

from search_spaces.ops.activation import activation

Gate = Literal["hard_sigmoid", "sigmoid"]


class SqueezeExcite(nn.Module):
    """Scales `channels` channels by gate(W2 relu(W1 mean(x))), with `squeezed` hidden units."""

    def __init__(self, channels: int, squeezed: int, gate: Gate) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            activation(gate, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.pool(x))  # type: ignore[no-any-return]
