"""Activations by name; `none` is the identity."""

from typing import Literal

from torch import nn

Act = Literal["none", "relu", "relu6", "leaky_relu", "prelu", "hard_swish", "swish", "sigmoid", "hard_sigmoid"]


def activation(name: Act, channels: int) -> nn.Module:
    """The activation called `name` for feature maps of `channels` channels (PReLU learns one slope a channel)."""
    match name:
        case "none":
            return nn.Identity()
        case "relu":
            return nn.ReLU(inplace=True)
        case "relu6":
            return nn.ReLU6(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(0.1, inplace=True)
        case "prelu":
            return nn.PReLU(channels)
        case "hard_swish":
            return nn.Hardswish(inplace=True)
        case "swish":
            return nn.SiLU(inplace=True)
        case "sigmoid":
            return nn.Sigmoid()
        case "hard_sigmoid":
            return nn.Hardsigmoid(inplace=True)
