"""Fast inference: batch norm folded into convolutions, batches sized to the cache."""

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from search_spaces.ops.norm_act import normed
from search_spaces.task import Input

_PIXELS = {"cpu": 2**18, "cuda": 2**23}  # pixels per batch: on a CPU, larger feature maps exceed the cache
_FEWEST, _MOST = 4, 256
_M = TypeVar("_M", bound=nn.Module)


def at_once(input: Input, device: torch.device) -> int:
    """The inference batch size for this input."""
    pixels = _PIXELS.get(device.type, _PIXELS["cuda"])
    return max(_FEWEST, min(_MOST, pixels // (input[1] * input[2])))


def folded(network: _M) -> _M:
    """A copy in eval mode with the same outputs, each batch norm after a convolution folded into it."""
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
