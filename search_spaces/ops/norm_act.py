"""Sequential layers; batch norm and activation."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from search_spaces.ops.activation import Act, activation


class Layers(nn.Sequential):
    """A sequence whose intermediate outputs are used nowhere else, so that adjacent layers may be fused in training."""


def norm_act(channels: int, act: Act) -> nn.Sequential:
    """Batch norm and activation for `channels` channels."""
    return Layers(nn.BatchNorm2d(channels), activation(act, channels))


def normed(network: nn.Module) -> Iterator[tuple[nn.Sequential, int]]:
    """Each convolution directly followed by batch norm: the sequence, and the convolution's index in it."""
    for row in network.modules():
        layers = list(row) if isinstance(row, nn.Sequential) else []
        for place, (layer, norm) in enumerate(pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield row, place  # type: ignore[misc]
