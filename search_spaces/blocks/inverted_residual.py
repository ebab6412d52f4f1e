"""inverted_residual: the block of MobileNetV1 (expand=1, linear=no), V2 and V3."""

from typing import Literal

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act
from search_spaces.ops.conv import conv_bn_act, make_divisible
from search_spaces.ops.squeeze_excite import Gate, SqueezeExcite
from search_spaces.registry import block


@block("inverted_residual")
class InvertedResidual(nn.Module):
    """Pointwise expansion, depthwise convolution, squeeze-and-excitation, pointwise projection, identity where shapes allow.

    `expand` multiplies the input width, rounded to a multiple of 8; nothing is expanded where that changes nothing.
    `se` is the squeezed share of the expanded width, or of the input's as in MnasNet (`se_of=input`), 0 for none.
    `linear=no` puts the activation behind the projection too, as MobileNetV1 does. `pointwise=always` expands by a
    factor of 1 too, as FBNet does. arXiv:1704.04861, 1801.04381, 1905.02244, 1807.11626, 1812.03443.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        kernel: Literal[3, 5, 7] = 3,
        expand: float = 6.0,
        se: float = 0.0,
        act: Act = "relu6",
        residual: bool = True,
        linear: bool = True,
        se_of: Literal["middle", "input"] = "middle",
        se_gate: Gate = "hard_sigmoid",
        pointwise: Literal["expanding", "always"] = "expanding",
        padding: Literal["symmetric", "same"] = "symmetric",
    ) -> None:
        super().__init__()
        if not 0 < expand <= 64 or not 0 <= se <= 1:
            raise InputError("expand must be above 0 and at most 64, se between 0 and 1")
        middle = c_in if expand == 1 else make_divisible(c_in * expand)
        layers: list[nn.Module] = []
        if middle != c_in or pointwise == "always":
            layers.append(conv_bn_act(c_in, middle, act=act))
        layers.append(conv_bn_act(middle, middle, kernel, stride, groups=middle, act=act, padding=padding))
        if se:
            squeezed = make_divisible(middle * se) if se_of == "middle" else max(1, round(c_in * se))
            layers.append(SqueezeExcite(middle, squeezed, se_gate))
        layers.append(conv_bn_act(middle, c_out, act="none" if linear else act))
        self.layers = nn.Sequential(*layers)
        self.adds = residual and stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.adds else y  # type: ignore[no-any-return]
