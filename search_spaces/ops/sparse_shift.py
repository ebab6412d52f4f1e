"""FE-Net's learnt sparse shift, with the gradient of its offsets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_spaces.ops.learnt_shift import LearntShift, Plan, make_plan
from search_spaces.ops.shift import Run, by_run, grid, shift


def corners(x: Tensor, grad: Tensor, cells: Sequence[Run]) -> Tensor:
    """[4, C]: the sum over N, H, W of grad[h, w] * x[pixel] for the four pixels around the real-valued offset."""
    return torch.cat(
        [
            torch.stack([_correlation(p, g, run.rows + i, run.cols + j) for i in (0, 1) for j in (0, 1)])
            for run, p, g in by_run(cells, x, grad)
        ],
        1,
    )


def _correlation(x: Tensor, grad: Tensor, rows: int, cols: int) -> Tensor:
    h, w = x.shape[-2:]
    (h_out, h_in), (w_out, w_in) = _overlap(h, h, rows), _overlap(w, w, cols)
    return (grad[:, :, h_out, w_out] * x[:, :, h_in, w_in]).sum((0, 2, 3))


def moved(x: Tensor, runs: Sequence[Run], size: Sequence[int], sign: int = 1) -> Tensor:
    """`shift` by sign * offsets, writing directly into the result; not differentiable."""
    h, w = x.shape[-2:]
    out = torch.zeros_like(x) if (h, w) == tuple(size) else _zeros(x, size)
    for run, source, target in by_run(runs, x, out):
        (h_out, h_in), (w_out, w_in) = _overlap(size[0], h, sign * run.rows), _overlap(size[1], w, sign * run.cols)
        target[..., h_out, w_out] = source[..., h_in, w_in]
    return out


def _zeros(x: Tensor, size: Sequence[int]) -> Tensor:
    """Zeros of another size, in the memory format of x [N, C, H, W]."""
    format_ = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return x.new_empty((*x.shape[:-2], *size)).to(memory_format=format_).zero_()


def _overlap(n_out: int, n_in: int, step: int) -> tuple[slice, slice]:
    """The slice of `n_out` pixels that read within `n_in` pixels at an offset of `step`, and the slice that they read."""
    first = max(-step, 0)
    end = max(first, min(n_out, n_in - step))
    return slice(first, end), slice(first + step, end + step)


class SparseShift(LearntShift):
    """FE-Net's sparse shift layer (arXiv:1903.05285), with learnt offsets per channel.

    Forward: shifts x [N, C, H, W] by the offsets, rounded half away from zero, zero-filled. Backward: the input's gradient is
    that of the rounded shift, the offsets' that of bilinear interpolation at their real values. Offsets start as a 3x3 grid.
    """

    def __init__(self, channels: int) -> None:
        runs = grid(channels, 3)
        counts = [run.channels for run in runs]
        rows, cols = (np.repeat([float(run[i]) for run in runs], counts).tolist() for i in (0, 1))
        super().__init__(torch.tensor(rows), torch.tensor(cols), Plan((), runs, runs))

    def forward(self, x: Tensor) -> Tensor:
        plan = self.plan()
        if self.training:
            return _StraightThrough.apply(x, self.row_offsets, self.col_offsets, plan)  # type: ignore[no-any-return]
        return plan.unsort(shift(plan.sort(x), plan.moves))

    def _planned(self, rows: Tensor, cols: Tensor) -> Plan:
        return make_plan(rows, cols)


class _StraightThrough(torch.autograd.Function):
    """The shift by a plan, with the straight-through gradient of the offsets."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, cols: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        x = plan.sort(x)
        ctx.save_for_backward(x, rows, cols)
        return plan.unsort(moved(x, plan.moves, x.shape[-2:]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        x, rows, cols = ctx.saved_tensors
        grad = plan.sort(grads[0])
        d_x = plan.unsort(moved(grad, plan.moves, grad.shape[-2:], -1)) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        q00, q01, q10, q11 = plan.unsort(corners(x, grad, plan.cells)).to(rows.dtype)
        a, b = rows - rows.floor(), cols - cols.floor()
        d_rows = (1 - b) * (q10 - q00) + b * (q11 - q01)
        d_cols = (1 - a) * (q01 - q00) + a * (q11 - q10)
        return d_x, d_rows, d_cols, None
