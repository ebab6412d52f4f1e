"""head: pooling and classifier, optionally with hidden layers (MobileNetV3, AlexNet) or pixelwise (NIN)."""

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act, activation
from search_spaces.ops.conv import conv_bn_act
from search_spaces.registry import block


@block("head")
class Head(nn.Module):
    """Average pooling to `pool` x `pool` pixels, `layers` hidden layers of `hidden` units, dropout, linear classifier (logits).

    A hidden layer is linear, activation, dropout; `dropout_first` puts dropout before each linear layer but the last; `norm`
    uses batch norm instead of a bias, as in MobileNetV4. `pixelwise` classifies each pixel (dropout, 1x1 convolution,
    activation) and averages the logits, as in NIN and SqueezeNet.
    """

    def __init__(
        self,
        c_in: int,
        classes: int,
        *,
        hidden: int = 0,
        act: Act = "hard_swish",
        dropout: float = 0.0,
        bias: bool = True,
        layers: int = 1,
        pool: int = 1,
        dropout_first: bool = False,
        pixelwise: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1 or not 0 <= hidden <= 65536 or not 1 <= pool <= 16 or not 1 <= layers <= 8:
            raise InputError("dropout must be 0 or more and below 1, hidden 0 to 65536, layers 1 to 8, pool 1 to 16")
        if pixelwise and (hidden or pool > 1):
            raise InputError("a pixelwise head has neither hidden layers nor a pool")
        if norm and (pool > 1 or pixelwise):
            raise InputError("a head with norm=yes needs pool=1 and pixelwise=no")
        self.pixelwise, self.size, self.normalises = pixelwise, pool, norm
        if pixelwise:
            classify = nn.Conv2d(c_in, classes, 1, bias=bias)
            self.classifier = nn.Sequential(*_dropout(dropout), classify, activation(act, classes))
            return
        stack: list[nn.Module] = []
        width = c_in * pool**2
        for _ in range(layers if hidden else 0):
            stack += [*_dropout(dropout * dropout_first), *_hidden(width, hidden, act, norm)]
            stack += _dropout(dropout * (not dropout_first))
            width = hidden
        stack += [nn.Flatten()] if norm else []
        self.classifier = nn.Sequential(*stack, *_dropout(0 if hidden else dropout), nn.Linear(width, classes, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        if self.pixelwise:
            return self.classifier(x).mean((2, 3))  # type: ignore[no-any-return]
        pooled = adaptive_avg_pool(x, self.size)
        return self.classifier(pooled if self.normalises else pooled.flatten(1))  # type: ignore[no-any-return]


def _hidden(width: int, units: int, act: Act, norm: bool) -> list[nn.Module]:
    """A hidden layer on [N, width]; with batch norm, a pointwise convolution on [N, width, 1, 1], as in timm's MobileNetV4."""
    return [conv_bn_act(width, units, act=act)] if norm else [nn.Linear(width, units), activation(act, units)]


def adaptive_avg_pool(x: Tensor, size: int) -> Tensor:
    """Average pooling of [N, C, H, W] to [N, C, size, size], with torch's windows; exportable to ONNX for any H and W."""
    if size == 1:
        return nn.functional.adaptive_avg_pool2d(x, 1)
    if tuple(x.shape[2:]) == (size, size):
        return x
    rows, cols = (_windows(int(n), size).to(x) for n in x.shape[2:])
    return rows @ x @ cols.T


def _windows(n: int, size: int) -> Tensor:
    """[size, n]: row i averages pixels floor(i n / size) to ceil((i + 1) n / size)."""
    weights = torch.zeros(size, n)
    for i in range(size):
        start, end = i * n // size, -(-(i + 1) * n // size)
        weights[i, start:end] = 1 / (end - start)
    return weights


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate else []
