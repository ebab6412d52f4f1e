"""Strided pointwise convolutions of few channels, which oneDNN cannot train."""

import torch.nn.functional as F
from torch import Tensor, nn

_BLOCK = 16  # channels that oneDNN reads at once, at most


class FastConv2d(nn.Conv2d):
    """While training, strided pointwise convolutions of fewer than 16 channels read every stride-th pixel, at stride 1.

    The result is the same. On processors without AVX-512, the weight gradient of oneDNN 3.12 writes beyond its workspace there
    (uxlfoundation/oneDNN issue 6035): training ends in wrong weights or a crash.
    """

    def forward(self, x: Tensor) -> Tensor:
        pointwise = self.kernel_size == (1, 1) and self.padding == (0, 0)
        if self.training and pointwise and self.stride != (1, 1) and self.in_channels < _BLOCK * self.groups:
            rows, columns = self.stride
            return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)
        return super().forward(x)
