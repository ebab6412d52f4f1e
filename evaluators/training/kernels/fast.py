"""fast: a network whose layers train in less time, and safely."""

from typing import TypeVar

from torch import nn

from evaluators.training.kernels.depthwise import FastDepthwiseConv2d, FastPaddedConv2d
from evaluators.training.kernels.fe import FastUnit
from evaluators.training.kernels.layers import FastLayers, FastPReLU
from evaluators.training.kernels.pointwise import FastConv2d
from evaluators.training.kernels.shifts import FastActiveShift, FastGroupedShift

_FORMS: tuple[type[nn.Module], ...] = (
    FastActiveShift,
    FastConv2d,
    FastDepthwiseConv2d,
    FastGroupedShift,
    FastLayers,
    FastPReLU,
    FastPaddedConv2d,
    FastUnit,
)
_FAST = {form.__bases__[0]: form for form in _FORMS}
_M = TypeVar("_M", bound=nn.Module)


def fast(network: _M) -> _M:
    """Change each module that has a fast form to that form, in place; tensors stay as they are. Returns the network.

    The network computes the same, in training mode up to rounding. Our own loop (kernels.weight_gradient) serves float32 maps
    in channels_last on one thread of a CPU; everywhere else, torch computes.
    """
    for module in network.modules():
        if form := _FAST.get(type(module)):
            module.__class__ = form
    return network
