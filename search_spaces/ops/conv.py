"""Convolution, batch norm and activation in a row; the rounding of widths."""

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.ops.activation import Act, activation
from search_spaces.ops.norm_act import Layers
from search_spaces.ops.one_thread import depthwise, depthwise_applies
from search_spaces.ops.padding import Padding, padded, same


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that keeps the size at stride 1.

    While training, taps that lie outside the map at every position are left out: on the small maps that short trainings
    on small pictures have, a dilated or large kernel is mostly such taps. The result is the same. In eval mode, which is
    what is exported and costed, it is a plain convolution.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation=dilation, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (stride, _), (dilation, _), half = self.stride, self.dilation, self.kernel_size[0] // 2
        reach = (max(x.shape[-2:]) - 1) // dilation
        if not self.training:
            return super().forward(x)
        if reach == 0:
            return x[:, :, ::stride, ::stride] * self.weight[:, :, half, half].view(1, -1, 1, 1)
        weight = self.weight
        if reach < half:
            weight, half = weight[:, :, half - reach : half + reach + 1, half - reach : half + reach + 1], reach
        if depthwise_applies(x, 2 * half + 1, dilation, stride):
            return depthwise(x, weight, stride, half * dilation, dilation)
        return F.conv2d(x, weight, None, stride, half * dilation, dilation, self.groups)


class PaddedConv2d(nn.Conv2d):
    """A convolution with the given padding; a map that is smaller than the kernel is padded to its size.

    While training, a depthwise one does without a padded copy of its map where that is faster (ops.one_thread).
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, groups: int, bias: bool, padding: Padding) -> None:
        super().__init__(c_in, c_out, kernel, stride, groups=groups, bias=bias)
        self.rule = padding
        self._depthwise = groups == c_in == c_out and not bias

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if self.training and self._depthwise and self.rule == "same" and depthwise_applies(x, kernel, 1, stride):
            rows, cols = same(x, kernel, stride)
            if rows == cols:
                return depthwise(x, self.weight, stride, rows // 2, 1, lopsided=rows % 2 == 1)
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
    """Convolution (`symmetric` padding keeps the size at stride 1), batch norm, activation."""
    layers: list[nn.Module] = [_conv(c_in, c_out, kernel, stride, groups, bias, padding), nn.BatchNorm2d(c_out)]
    if act != "none":
        layers.append(activation(act, c_out))
    return Layers(*layers)


def _conv(c_in: int, c_out: int, kernel: int, stride: int, groups: int, bias: bool, padding: Padding) -> nn.Conv2d:
    if padding != "symmetric" and (kernel, padding) != (1, "same"):
        return PaddedConv2d(c_in, c_out, kernel, stride, groups, bias, padding)
    if 1 < groups == c_in == c_out and not bias:
        return DepthwiseConv2d(c_in, kernel, stride)
    return nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)


def make_divisible(value: float, divisor: int = 8) -> int:
    """`value` rounded to a multiple of `divisor`, never below 90 % of it (TensorFlow's MobileNet code)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
