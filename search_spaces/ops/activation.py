"""Activations by name; `none` is the identity.

In eval mode, they run in place. In training, only those do whose gradient can be computed from the output; for others, torch
would have to copy the input first.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Act = Literal["none", "relu", "relu6", "leaky_relu", "prelu", "hard_swish", "swish", "sigmoid", "hard_sigmoid"]


def activation(name: Act, channels: int) -> nn.Module:
    """The activation called `name` for `channels` channels (PReLU learns one slope per channel)."""
    match name:
        case "none":
            return nn.Identity()
        case "relu":
            return nn.ReLU(inplace=True)
        case "relu6":
            return ReLU6()
        case "leaky_relu":
            return nn.LeakyReLU(0.1, inplace=True)
        case "prelu":
            return nn.PReLU(channels)
        case "hard_swish":
            return Hardswish()
        case "swish":
            return SiLU()
        case "sigmoid":
            return nn.Sigmoid()
        case "hard_sigmoid":
            return nn.Hardsigmoid(inplace=True)


class ReLU6(nn.ReLU6):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x, inplace=not self.training)


class Hardswish(nn.Hardswish):
    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x, inplace=not self.training)


class SiLU(nn.SiLU):
    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, inplace=not self.training)
