"""Batch norm and activation in front of a convolution, as pre-activated blocks have them."""

from torch import nn

from search_spaces.ops.activation import Act, activation


def norm_act(channels: int, act: Act) -> nn.Sequential:
    """Batch norm and activation of maps of `channels` channels."""
    return nn.Sequential(nn.BatchNorm2d(channels), activation(act, channels))
