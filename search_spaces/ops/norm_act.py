"""Layers in a row, some of which training computes together or in bfloat16 where that is faster; batch norm and activation."""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from search_spaces.ops import low_precision
from search_spaces.ops.activation import Act, activation
from search_spaces.ops.one_thread import activation_code, batch_norm, batch_norm_applies


class Layers(nn.Sequential):
    """Layers in a row. While training on one thread, a batch norm and the activation behind it are one (ops.one_thread);
    convolutions may be in bfloat16 (ops.low_precision), whose results such a batch norm takes as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if low_precision.applies(layer, x):
                x = low_precision.convolution(layer, x)
                if not (layers and batch_norm_applies(layers[0], x)):
                    x = x.float()
            elif batch_norm_applies(layer, x):
                x = batch_norm(x, layer, layers.pop(0) if layers and activation_code(layers[0]) else None)
            else:
                x = layer(x)
        return x


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
