"""Convolution, batch norm and activation in a row; the rounding of widths."""

from torch import nn

from search_spaces.ops.activation import Act, activation


def conv_bn_act(
    c_in: int,
    c_out: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    act: Act = "none",
) -> nn.Sequential:
    """Convolution without bias (padded to keep the size at stride 1), batch norm, activation."""
    padding = dilation * (kernel - 1) // 2
    layers: list[nn.Module] = [
        nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    if act != "none":
        layers.append(activation(act, c_out))
    return nn.Sequential(*layers)


def make_divisible(value: float, divisor: int = 8) -> int:
    """`value` rounded to a multiple of `divisor`, never below 90 % of it (TensorFlow's MobileNet code)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
