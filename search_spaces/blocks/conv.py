"""conv: convolution with batch norm and activation, for stems, depthwise layers and final pointwise layers."""

from math import gcd
from typing import Literal

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act
from search_spaces.ops.conv import conv_bn_act
from search_spaces.ops.padding import Padding
from search_spaces.registry import block


@block("conv")
class Conv(nn.Module):
    """Convolution, batch norm (unless `norm=no`), activation.

    `groups` is reduced to its greatest common divisor with both widths; 0 means as many as possible, which is depthwise for
    equal widths. `padding` is symmetric, TensorFlow's asymmetric `same`, or a number of pixels.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: Literal[1, 2, 4],
        *,
        kernel: Literal[1, 3, 5, 7, 11] = 3,
        act: Act = "relu",
        groups: int = 1,
        norm: bool = True,
        bias: bool = False,
        padding: Padding = "symmetric",
    ) -> None:
        super().__init__()
        if groups < 0:
            raise InputError(f"groups must be 0 (as many as possible) or more, not {groups}")
        groups = gcd(groups, c_in, c_out)
        self.layers = conv_bn_act(c_in, c_out, kernel, stride, groups=groups, act=act, bias=bias, padding=padding)
        if not norm:
            del self.layers[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]
