"""shuffle: ShuffleNetV2's units."""

from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.ops.activation import Act
from search_spaces.ops.channel_shuffle import channel_shuffle
from search_spaces.ops.conv import conv_bn_act
from search_spaces.registry import block


@block("shuffle")
class Shuffle(nn.Module):
    """Two branches (identity or depthwise + pointwise; pointwise + depthwise + pointwise), concatenated, channel shuffle.

    At stride 1 with equal, even widths, half of the channels pass through and half are transformed; otherwise both branches
    read the whole input. `split` divides the output between them: with `authors`, the left branch keeps the input width
    (matches the published MACs; halves if the output is not wider); with `half`, each has half, as in torchvision. For odd
    widths, the right branch has one channel more. arXiv:1807.11164.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        kernel: Literal[3, 5, 7] = 3,
        act: Act = "relu",
        split: Literal["authors", "half"] = "authors",
    ) -> None:
        super().__init__()
        self.passes = stride == 1 and c_in == c_out and c_in % 2 == 0
        left = c_in if split == "authors" and c_out > c_in else c_out // 2
        middle = c_out - c_out // 2
        self.left = None
        if left and not self.passes:
            self.left = nn.Sequential(conv_bn_act(c_in, c_in, kernel, stride, groups=c_in), conv_bn_act(c_in, left, act=act))
        self.right = nn.Sequential(
            conv_bn_act(c_in // 2 if self.passes else c_in, middle, act=act),
            conv_bn_act(middle, middle, kernel, stride, groups=middle),
            conv_bn_act(middle, c_out - left, act=act),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.passes:
            left, right = x.chunk(2, 1)
            return _joined(left, self.right(right))
        if self.left is None:
            return self.right(x)  # type: ignore[no-any-return]
        return _joined(self.left(x), self.right(x))


def _joined(left: Tensor, right: Tensor) -> Tensor:
    """Concatenates two feature maps and shuffles their channels in two groups."""
    return channel_shuffle(torch.cat([left, right], 1), 2)
