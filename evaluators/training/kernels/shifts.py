"""Shifts that copy a map once forward and once backward, on one thread by loops of our own."""

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from evaluators.training.kernels.maps import pixels, readable
from search_spaces.ops.active_shift import ActiveShift
from search_spaces.ops.learnt_shift import Plan
from search_spaces.ops.shift import GroupedShift, Run
from search_spaces.ops.sparse_shift import SparseShift, Ways, corners, moved

_LANES = 16  # channels that the loops take at once, as in loops.shift


class FastGroupedShift(GroupedShift):
    """While training, in half the copies."""

    def shifted(self, x: Tensor) -> Tensor:
        return move(x, self.runs, x.shape[-2:]) if self.training else super().shifted(x)


class FastActiveShift(ActiveShift):
    """While training, in half the copies, and channels are gathered once each way."""

    def by_cell(self, x: Tensor, plan: Plan) -> Tensor:
        if not self.training:
            return super().by_cell(x, plan)
        weight = self.weights(plan)
        around = move(_reordered(x, plan.order), plan.moves, self.reach(x))
        y = conv2d(around, weight, None, self.stride, groups=x.shape[1])
        return _reordered(y, tuple(np.argsort(plan.order).tolist()))


@cache
def _loops() -> ModuleType:
    """Imported when first needed: compiling the loops takes seconds in the first process that does it."""
    from evaluators.training.kernels.loops import shift

    return shift


def shift_applies(x: Tensor) -> bool:
    """Whether the loops can take a map. They record no gradient."""
    return readable(x, torch.float32) and x.shape[1] >= _LANES


def move(x: Tensor, runs: tuple[Run, ...], size: Sequence[int]) -> Tensor:
    """`search_spaces.ops.shift.shift` in one copy forward and one backward."""
    return _Move.apply(x, runs, size)  # type: ignore[no-any-return]


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: tuple[Run, ...], size: Sequence[int]) -> Tensor:
        ctx.runs, ctx.size = runs, tuple(x.shape[-2:])
        return fast_moved(x, runs, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return fast_moved(grads[0], ctx.runs, ctx.size, -1), None, None


def fast_moved(x: Tensor, runs: Sequence[Run], size: Sequence[int], sign: int = 1) -> Tensor:
    """`search_spaces.ops.sparse_shift.moved`, by a loop where that applies."""
    if not shift_applies(x):
        return moved(x, runs, size, sign)
    out = torch.empty((*x.shape[:2], *size), memory_format=torch.channels_last)
    _loops().shift(pixels(x), np.array(runs, np.int64), sign, pixels(out))
    return out


def fast_corners(x: Tensor, grad: Tensor, cells: Sequence[Run]) -> Tensor:
    """`search_spaces.ops.sparse_shift.corners`, by a loop where that applies."""
    if not (shift_applies(x) and shift_applies(grad)):
        return corners(x, grad, cells)
    sums = torch.zeros((2, 2, x.shape[1]), dtype=torch.float64)
    _loops().shift_correlations(pixels(x), pixels(grad), np.array(cells, np.int64), sums.numpy())
    return sums.flatten(0, 1)


class FastSparseShift(SparseShift):
    """What its offsets learn is summed without products that are maps."""

    ways = Ways(fast_moved, fast_corners)


def _reordered(x: Tensor, order: tuple[int, ...]) -> Tensor:
    return _Reorder.apply(x, order) if order else x  # type: ignore[no-any-return]


class _Reorder(torch.autograd.Function):
    """Channels in another order, one gather forward and one backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: tuple[int, ...]) -> Tensor:
        ctx.order = order
        return x.index_select(1, torch.tensor(order, device=x.device))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        back = np.argsort(ctx.order)
        return grads[0].index_select(1, torch.tensor(back, device=grads[0].device)), None
