"""eesp: ESPNetV2's extremely efficient spatial pyramid, plain and strided."""

from itertools import accumulate
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from search_spaces.ops.activation import Act, activation
from search_spaces.ops.conv import DepthwiseConv2d, conv_bn_act
from search_spaces.ops.norm_act import norm_act
from search_spaces.registry import block

_PICTURE = 3


@block("eesp")
class Eesp(nn.Module):
    """Grouped pointwise reduction, parallel dilated depthwise 3x3, running sums, grouped pointwise, identity.

    Branch i has a receptive field of 3 + 2i pixels, or 3 if that exceeds `receptive_field`; `fusion` enables the running sums.
    At stride 2 with a larger output width, the average-pooled input is prepended, and only the new channels are computed. The
    identity is added if shapes match. `reinforce` adds a projection of the average-pooled image (RGB or grey).
    Pointwise convolutions have `branches` groups, or as many as divide the widths; if `branches` does not divide the output
    width, the last convolution adjusts it. `authors_unused` adds modules that the authors' strided unit has but never runs,
    as their published params include them: a second activation and, without `reinforce`, the image projection.
    arXiv:1811.11431, sacmehta/ESPNetv2 imagenet/Model.py.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        branches: Literal[2, 3, 4, 5, 6, 7, 8] = 4,
        receptive_field: Literal[3, 5, 7, 9, 11, 13, 15, 17] = 7,
        fusion: bool = True,
        reinforce: bool = False,
        act: Act = "prelu",
        authors_unused: bool = False,
    ) -> None:
        super().__init__()
        self.concatenates = stride == 2 and c_out > c_in
        self.adds = stride == 1 and c_in == c_out
        self.reads_image = reinforce
        new = c_out - c_in if self.concatenates else c_out
        self.pyramid = _Pyramid(c_in, new, stride, dilations(branches, receptive_field), fusion=fusion, act=act)
        if reinforce:
            self.reinforcement = _reinforcement(c_out, act)
        self.act = activation(act, c_out)
        if authors_unused and self.concatenates:
            self.unused = nn.ModuleList([activation(act, new), *([] if reinforce else [_reinforcement(c_out, act)])])

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        """[N, c_in, H, W] to [N, c_out, H/stride, W/stride], sizes rounded up; `image` is the network's input."""
        y = self.pyramid(x)
        if self.concatenates:
            y = torch.cat([avg_pool2d(x, 3, stride=2, padding=1), y], 1)
        if self.adds:
            y = y + x
        if self.reads_image:
            assert image is not None
            y = y + self.reinforcement(_shrunk(image, y.shape[-1]))
        return self.act(y)  # type: ignore[no-any-return]


class _Pyramid(nn.Module):
    """Reduce, split, transform, merge: the unit up to the identity and final activation."""

    def __init__(self, c_in: int, c_out: int, stride: int, rates: list[int], *, fusion: bool, act: Act) -> None:
        super().__init__()
        k = len(rates)
        n = -(-c_out // k)
        self.fusion = fusion
        self.reduce = conv_bn_act(c_in, n, groups=gcd(k, c_in, n), act=act)
        self.branches = nn.ModuleList(DepthwiseConv2d(n, 3, stride, d) for d in rates)
        self.norm = norm_act(n * k, act)
        self.merge = conv_bn_act(n * k, c_out, groups=gcd(k, c_out))

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        parts = [branch(x) for branch in self.branches]
        fused = list(accumulate(parts)) if self.fusion else parts
        return self.merge(self.norm(torch.cat(fused, 1)))  # type: ignore[no-any-return]


def dilations(branches: int, receptive_field: int) -> list[int]:
    """The dilation of each branch's 3x3 kernel, ascending: receptive fields of 3 + 2i, or 3 above `receptive_field`."""
    sizes = [3 + 2 * i for i in range(branches)]
    return sorted((size - 1) // 2 if size <= receptive_field else 1 for size in sizes)


def _reinforcement(c_out: int, act: Act) -> nn.Sequential:
    return nn.Sequential(conv_bn_act(_PICTURE, _PICTURE, 3, act=act), conv_bn_act(_PICTURE, c_out))


def _shrunk(image: Tensor, width: int) -> Tensor:
    """The image with three channels, average-pooled by two until it is at most `width` pixels wide."""
    if image.shape[1] == 1:
        image = image.expand(-1, _PICTURE, -1, -1)
    while image.shape[-1] > width:
        image = avg_pool2d(image, 3, stride=2, padding=1)
    return image
