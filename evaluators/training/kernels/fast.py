"""fast: a network whose layers train in less time."""

from typing import TypeVar

from torch import nn

from evaluators.training.kernels.depthwise import FastDepthwiseConv2d, FastPaddedConv2d
from evaluators.training.kernels.fe import FastUnit
from evaluators.training.kernels.layers import FastLayers
from evaluators.training.kernels.shifts import FastActiveShift, FastGroupedShift, FastSparseShift
from evaluators.training.kernels.shuffle import FastShuffle

_FORMS: tuple[type[nn.Module], ...] = (
    FastActiveShift,
    FastDepthwiseConv2d,
    FastGroupedShift,
    FastLayers,
    FastPaddedConv2d,
    FastShuffle,
    FastSparseShift,
    FastUnit,
)
_FAST = {form.__bases__[0]: form for form in _FORMS}
_M = TypeVar("_M", bound=nn.Module)


def fast(network: _M) -> _M:
    """The network itself, in which each module that has a fast form now is of that form; its tensors stay as they are.

    What it computes is the same, in training mode up to rounding. The loops serve one thread of a CPU, and float32 maps in
    channels_last of which a gradient is wanted; with more threads, elsewhere, and for other maps torch computes.
    """
    for module in network.modules():
        if form := _FAST.get(type(module)):
            module.__class__ = form
    return network
