"""inverted_residual: the block of MobileNetV1 (expand=1, linear=no), V2, V3 and V4 (start, kernel=0)."""

from typing import Literal

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act
from search_spaces.ops.conv import conv_bn_act, make_divisible
from search_spaces.ops.squeeze_excite import Gate, SqueezeExcite
from search_spaces.registry import block


@block("inverted_residual")
class InvertedResidual(nn.Module):
    """Pointwise expansion, depthwise convolution, squeeze-and-excitation, pointwise projection, identity if shapes match.

    `expand` multiplies the input width, rounded to a multiple of 8; there is no expansion layer if the width stays the same.
    `se` is the squeeze ratio of the expanded width, or of the input width as in MnasNet (`se_of=input`); 0 for none.
    `linear=no` adds an activation after the projection, as in MobileNetV1. `pointwise=always` keeps the expansion layer at a
    factor of 1, as in FBNet. arXiv:1704.04861, 1801.04381, 1905.02244, 1807.11626, 1812.03443.

    `start` is the kernel of a depthwise convolution with batch norm before the expansion, 0 for none; `kernel=0` omits the
    middle one. These are the variants of the universal inverted bottleneck: extra depthwise (both), ConvNext-like (`start`
    only), feed-forward network (neither). The middle depthwise convolution has the stride, or else the start, or else the first
    pointwise convolution. arXiv:2404.10518.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        kernel: Literal[0, 3, 5, 7] = 3,
        expand: float = 6.0,
        se: float = 0.0,
        act: Act = "relu6",
        residual: bool = True,
        linear: bool = True,
        se_of: Literal["middle", "input"] = "middle",
        se_gate: Gate = "hard_sigmoid",
        pointwise: Literal["expanding", "always"] = "expanding",
        padding: Literal["symmetric", "same"] = "symmetric",
        start: Literal[0, 3, 5] = 0,
    ) -> None:
        super().__init__()
        if not 0 < expand <= 64 or not 0 <= se <= 1:
            raise InputError("expand must be above 0 and at most 64, se between 0 and 1")
        middle = c_in if expand == 1 else make_divisible(c_in * expand)
        expands = middle != c_in or pointwise == "always"
        strided = "middle" if kernel else "start" if start else "expansion" if expands else "projection"
        strides = {strided: stride}
        self.start: nn.Module | None = None
        if start:
            self.start = conv_bn_act(c_in, c_in, start, strides.get("start", 1), groups=c_in, padding=padding)
        layers: list[nn.Module] = []
        if expands:
            layers.append(conv_bn_act(c_in, middle, 1, strides.get("expansion", 1), act=act))
        if kernel:
            layers.append(conv_bn_act(middle, middle, kernel, stride, groups=middle, act=act, padding=padding))
        if se:
            squeezed = make_divisible(middle * se) if se_of == "middle" else max(1, round(c_in * se))
            layers.append(SqueezeExcite(middle, squeezed, se_gate))
        layers.append(conv_bn_act(middle, c_out, 1, strides.get("projection", 1), act="none" if linear else act))
        self.layers = nn.Sequential(*layers)
        self.adds = residual and stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] to [N, c_out, H/stride, W/stride], sizes rounded up."""
        y = self.layers(x if self.start is None else self.start(x))
        return x + y if self.adds else y  # type: ignore[no-any-return]
