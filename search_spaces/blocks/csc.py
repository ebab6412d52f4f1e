"""csc: ShiftNet's pre-activated conv-shift-conv block."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act
from search_spaces.ops.norm_act import Layers, norm_act
from search_spaces.ops.shift import GroupedShift
from search_spaces.registry import block


@block("csc")
class Csc(nn.Module):
    """Pre-activated pointwise convolution, grouped shift, pre-activated pointwise convolution.

    At stride 2 with a larger output width, only the new channels are computed, and the average-pooled input is appended; at
    stride 1, the identity is added if shapes match. `expand` multiplies the computed width. With fewer than kernel^2 middle
    channels, nothing is shifted. arXiv:1711.08141.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        kernel: Literal[3, 5, 7] = 3,
        expand: float = 3.0,
        dilation: int = 1,
        act: Act = "relu",
    ) -> None:
        super().__init__()
        if not 0 < expand <= 64 or dilation < 1:
            raise InputError("expand must be above 0 and at most 64, dilation 1 or more")
        self.concatenates = stride == 2 and c_out > c_in
        self.adds = stride == 1 and c_in == c_out
        new = c_out - c_in if self.concatenates else c_out
        middle = max(1, int(new * expand))
        self.layers = Layers(
            norm_act(c_in, act),
            nn.Conv2d(c_in, middle, 1, bias=False),
            GroupedShift(middle, kernel, dilation),
            norm_act(middle, act),
            nn.Conv2d(middle, new, 1, stride, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] to [N, c_out, H/stride, W/stride], sizes rounded up."""
        y = self.layers(x)
        if self.concatenates:
            return torch.cat([y, avg_pool2d(x, 3, stride=2, padding=1)], 1)
        return x + y if self.adds else y  # type: ignore[no-any-return]
