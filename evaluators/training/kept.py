"""Frozen leading blocks of a network with inherited weights: no gradients, fast forward passes."""

from itertools import accumulate
from operator import mul

import torch
from torch import Tensor

from evaluators.training.lean import at_once, folded
from evaluators.training.precision import lowered_passes
from search_spaces.network import Network, run_block


def kept_count(network: Network, stride: int, ready: int) -> int:
    """How many of the first `ready` blocks have an output stride of at most `stride`; never includes the last block."""
    strides = accumulate((spec.stride for spec in network.genotype.blocks[:-1]), mul)
    return min(ready, sum(1 for each in strides if each <= stride))


class Kept:
    """The first `count` blocks of a network, copied and frozen; a call runs them on images [B, C, H, W] in eval mode.

    `low`: use bfloat16 where it is native (evaluators.training.precision). Outputs are float32, without gradients.
    """

    def __init__(self, network: Network, count: int, low: bool) -> None:
        self.count, self._low = count, low
        self._blocks = [folded(block) for block in network.blocks[:count]]

    def __call__(self, images: Tensor) -> Tensor:
        if not self.count:
            return images
        _, channels, height, width = images.shape
        size = at_once((channels, height, width), images.device)
        with lowered_passes(images.device, self._low):
            return torch.cat([self._passed(part) for part in images.split(size)])

    def _passed(self, images: Tensor) -> Tensor:
        x = images
        for block in self._blocks:
            x = run_block(block, x, images)
        return x.float()
