"""lgc: CondenseNet's learned group convolution in its inference form."""

from math import gcd

import torch
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.channel_shuffle import channel_shuffle
from search_spaces.ops.norm_act import norm_act
from search_spaces.registry import block


@block("lgc")
class LearnedGroupConv(nn.Module):
    """Channel selection, batch norm, ReLU, grouped pointwise convolution, channel shuffle.

    Each group reads 1/`condense` of the input channels, rounded up, as listed in the buffer `index`. Initially, groups take
    consecutive channels, cycling through all. `groups` is reduced to its greatest common divisor with the output width.
    arXiv:1711.09224, ShichenLiu/CondenseNet layers.py.
    """

    index: Tensor

    def __init__(self, c_in: int, c_out: int, *, groups: int = 4, condense: int = 4) -> None:
        super().__init__()
        if groups < 1 or condense < 1:
            raise InputError("groups and condense must be 1 or more")
        self.groups = gcd(groups, c_out)
        picked = self.groups * -(-c_in // condense)
        self.register_buffer("index", torch.arange(picked) % c_in)
        self.norm = norm_act(picked, "relu")
        self.conv = nn.Conv2d(picked, c_out, 1, groups=self.groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return channel_shuffle(self.conv(self.norm(x.index_select(1, self.index))), self.groups)
