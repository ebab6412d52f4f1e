"""ShuffleNet's shuffle of two maps in one pass."""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from evaluators.training.kernels.maps import channels_last, numbers, trainable
from search_spaces.blocks.shuffle import Shuffle


class FastShuffle(Shuffle):
    """Joins its branches without concatenating them first."""

    def joined(self, left: Tensor, right: Tensor) -> Tensor:
        return interleaved(left, right) if interleaved_applies(left, right) else super().joined(left, right)


def interleaved_applies(first: Tensor, second: Tensor) -> bool:
    """Whether `interleaved` can take two maps."""
    return first.shape == second.shape and trainable(second, torch.float32)


def interleaved(first: Tensor, second: Tensor) -> Tensor:
    """Channels of two maps [N, C, H, W] in turn, [N, 2 C, H, W]."""
    return _Interleaved.apply(first, second)


@cache
def _loops() -> ModuleType:
    """Imported when first needed: compiling the loops takes seconds in the first process that does it."""
    from evaluators.training.kernels.loops import interleave

    return interleave


class _Interleaved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        n, c, h, w = first.shape
        both = torch.empty((n, 2 * c, h, w), memory_format=torch.channels_last)
        first, second = channels_last(first), channels_last(second)
        _loops().interleave(numbers(first), numbers(second), numbers(both))
        return both

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = dy.shape
        first, second = (torch.empty((n, c // 2, h, w), memory_format=torch.channels_last) for _ in range(2))
        _loops().deinterleave(numbers(channels_last(dy)), numbers(first), numbers(second))
        return first, second
