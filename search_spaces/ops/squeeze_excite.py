"""Squeeze-and-excitation (arXiv:1709.01507) in MobileNetV3's form."""

from torch import Tensor, nn

from search_spaces.ops.conv import make_divisible


class SqueezeExcite(nn.Module):
    """Scales channels by hard-sigmoid(W2 relu(W1 mean(x))); the middle has make_divisible(channels * ratio) units."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        middle = make_divisible(channels * ratio)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, middle, 1), nn.ReLU(inplace=True), nn.Conv2d(middle, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.pool(x))  # type: ignore[no-any-return]
