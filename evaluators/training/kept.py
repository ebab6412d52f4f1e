"""The first blocks of a network that inherits, which a training may keep as they are: no gradients, and little time."""

from itertools import accumulate
from operator import mul

import torch
from torch import Tensor

from evaluators.training.lean import at_once, folded
from evaluators.training.precision import lowered_passes
from search_spaces.network import Network, run_block


def kept_count(network: Network, stride: int, ready: int) -> int:
    """How many of the first `ready` blocks have maps of at least 1/stride of the input's sides; never the last block."""
    strides = accumulate((spec.stride for spec in network.genotype.blocks[:-1]), mul)
    return min(ready, sum(1 for each in strides if each <= stride))


class Kept:
    """The first `count` blocks of a network as they are now; a call gives what they make of images [B, C, H, W] in eval mode.

    `low`: in bfloat16 where that is native (evaluators.training.precision). Results are float32 and take no gradients.
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
