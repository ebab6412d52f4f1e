"""Convolution, batch norm and activation; rounding of widths."""

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops.activation import Act, activation
from search_spaces.ops.norm_act import Layers
from search_spaces.ops.padding import Padding, padded


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that preserves the size at stride 1."""

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation=dilation, groups=channels, bias=False)


class PaddedConv2d(nn.Conv2d):
    """A convolution with the given padding; pads feature maps smaller than the kernel to its size."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, *, groups: int, bias: bool, padding: Padding) -> None:
        super().__init__(c_in, c_out, kernel, stride, groups=groups, bias=bias)
        self.rule = padding

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        x, around = padded(x, kernel, stride, self.rule)
        lacking = [max(0, kernel - size - 2 * around) for size in x.shape[2:]]
        if any(lacking):
            x = F.pad(x, (0, lacking[1], 0, lacking[0]))
        return F.conv2d(x, self.weight, self.bias, self.stride, around, 1, self.groups)


def conv_bn_act(
    c_in: int,
    c_out: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    act: Act = "none",
    bias: bool = False,
    padding: Padding = "symmetric",
) -> nn.Sequential:
    """Convolution (`symmetric` padding preserves the size at stride 1), batch norm, activation."""
    convolution = _conv(c_in, c_out, kernel, stride, groups=groups, bias=bias, padding=padding)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(c_out)]
    if act != "none":
        layers.append(activation(act, c_out))
    return Layers(*layers)


def _conv(c_in: int, c_out: int, kernel: int, stride: int, *, groups: int, bias: bool, padding: Padding) -> nn.Conv2d:
    if padding != "symmetric" and (kernel, padding) != (1, "same"):
        return PaddedConv2d(c_in, c_out, kernel, stride, groups=groups, bias=bias, padding=padding)
    if 1 < groups == c_in == c_out and not bias:
        return DepthwiseConv2d(c_in, kernel, stride)
    return nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)


def make_divisible(value: float, divisor: int = 8) -> int:
    """Rounds `value` to a multiple of `divisor`, never below 90 % of it (TensorFlow's MobileNet code)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
