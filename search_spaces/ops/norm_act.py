"""Layers in a row; batch norm and activation."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from search_spaces.ops.activation import Act, activation


class Layers(nn.Sequential):
    """Layers in a row whose outputs go to the next one only, so that a training may compute neighbours together."""


def norm_act(channels: int, act: Act) -> nn.Sequential:
    """Batch norm and activation of maps of `channels` channels."""
    return Layers(nn.BatchNorm2d(channels), activation(act, channels))


def normed(network: nn.Module) -> Iterator[tuple[nn.Sequential, int]]:
    """Where in `network` a batch norm is right behind a convolution: the row of layers, and the convolution's place in it."""
    for row in network.modules():
        layers = list(row) if isinstance(row, nn.Sequential) else []
        for place, (layer, norm) in enumerate(pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield row, place  # type: ignore[misc]
