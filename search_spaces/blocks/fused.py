"""fused: the fused inverted bottleneck of EfficientNet-EdgeTPU, EfficientNetV2 and MobileNetV4."""

from typing import Literal

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act
from search_spaces.ops.conv import conv_bn_act, make_divisible
from search_spaces.registry import block


@block("fused")
class Fused(nn.Module):
    """Dense expansion with a `kernel` x `kernel` convolution, pointwise projection, identity if shapes match.

    `expand` multiplies the input width, rounded to a multiple of 8. arXiv:2003.02838, 2104.00298, 2404.10518.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        kernel: Literal[3, 5] = 3,
        expand: float = 4.0,
        act: Act = "relu",
        padding: Literal["symmetric", "same"] = "symmetric",
    ) -> None:
        super().__init__()
        if not 0 < expand <= 64:
            raise InputError("expand must be above 0 and at most 64")
        middle = c_in if expand == 1 else make_divisible(c_in * expand)
        self.layers = nn.Sequential(
            conv_bn_act(c_in, middle, kernel, stride, act=act, padding=padding), conv_bn_act(middle, c_out)
        )
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] to [N, c_out, H/stride, W/stride], sizes rounded up."""
        y = self.layers(x)
        return x + y if self.adds else y  # type: ignore[no-any-return]
