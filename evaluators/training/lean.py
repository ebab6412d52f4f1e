"""Passes in eval mode in little time: batch norms folded into convolutions, few images at once."""

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from search_spaces.ops.norm_act import normed
from search_spaces.task import Input

_PIXELS = {"cpu": 2**18, "cuda": 2**23}  # of the images shown at once: on a CPU, maps of more leave its cache
_FEWEST, _MOST = 4, 256
_M = TypeVar("_M", bound=nn.Module)


def at_once(input: Input, device: torch.device) -> int:
    """How many images are shown to a network with this input at once."""
    pixels = _PIXELS.get(device.type, _PIXELS["cuda"])
    return max(_FEWEST, min(_MOST, pixels // (input[1] * input[2])))


def folded(network: _M) -> _M:
    """A copy in eval mode with the same outputs, where each batch norm right behind a convolution is part of it."""
    found = copy.deepcopy(network).eval()
    for layers, place in list(normed(found)):
        convolution, norm = cast(nn.Conv2d, layers[place]), cast(nn.BatchNorm2d, layers[place + 1])
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        convolution.weight, convolution.bias = weight, bias
        layers[place + 1] = nn.Identity()
    return found
