"""Layers in a row with convolutions in bfloat16; PReLU with a faster gradient."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.training.kernels import low_precision
from search_spaces.ops.norm_act import Layers


class FastLayers(Layers):
    """In training, convolutions may run in bfloat16 (kernels.low_precision)."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = low_precision.convolution(layer, x).float() if low_precision.applies(layer, x) else layer(x)
        return x


class FastPReLU(nn.PReLU):
    """In training, composed of operations whose gradients torch computes faster than PReLU's; the result is the same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        positive = F.relu(x)
        return torch.addcmul(positive, self.weight.view(1, -1, 1, 1), x - positive)
