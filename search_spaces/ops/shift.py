"""Shifts of feature maps by moving data: the grouped shift of ShiftNet and the learnable sparse shift of FE-Net."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad


class Run(NamedTuple):
    """`channels` channels in a row that read from `rows` further down and `cols` further right."""

    rows: int
    cols: int
    channels: int


class Plan(NamedTuple):
    """How a sparse shift moves channels: sort them by `order` (empty: they are sorted), then shift them run by run.

    `moves` are runs of equal rounded offsets; `cells` are runs, in the same order, of equal offsets rounded down.
    """

    order: tuple[int, ...]
    moves: tuple[Run, ...]
    cells: tuple[Run, ...]

    def sort(self, x: Tensor) -> Tensor:
        return x.index_select(1, torch.tensor(self.order, device=x.device)) if self.order else x

    def unsort(self, x: Tensor) -> Tensor:
        return x.index_select(1, torch.tensor(np.argsort(self.order), device=x.device)) if self.order else x


def grid(channels: int, kernel: int, dilation: int = 1) -> tuple[Run, ...]:
    """The kernel^2 offsets, row by row, on equal runs of channels; the centre, which stays, has the remainder too."""
    each, rest = divmod(channels, kernel**2)
    steps = [dilation * (i - kernel // 2) for i in range(kernel)]
    runs = [Run(r, c, each + (0 if r or c else rest)) for r in steps for c in steps]
    return tuple(run for run in runs if run.channels)


def shift(x: Tensor, runs: Sequence[Run]) -> Tensor:
    """x [N, C, H, W] with each run of channels shifted, zero-filled: out[h, w] = x[h + rows, w + cols].

    One pad a run, which crops too, between one split and one concatenation: measured fastest in ONNX Runtime on a CPU
    (benchmarks/shift.py).
    """
    if not any(run.rows or run.cols for run in runs):
        return x
    return torch.cat([_shift_part(part, run.rows, run.cols) for run, part in _by_run(runs, x)], 1)


def _shift_part(x: Tensor, rows: int, cols: int) -> Tensor:
    if rows == cols == 0:
        return x
    if abs(rows) >= x.shape[2] or abs(cols) >= x.shape[3]:
        return torch.zeros_like(x)
    return pad(x, (-cols, cols, -rows, rows))


def grouped_shift(x: Tensor, kernel: int, dilation: int = 1) -> Tensor:
    """ShiftNet's shift (arXiv:1711.08141) of x [N, C, H, W]: C // kernel^2 channels an offset, the remainder unshifted.

    Groups are contiguous, in rows of offsets. The authors' code interleaves them (channel modulo kernel^2): between two
    1x1 convolutions the same network with its channels renumbered, but a copy for each channel instead of each group.
    """
    return shift(x, grid(x.shape[1], kernel, dilation))


class GroupedShift(nn.Module):
    """`grouped_shift` for maps of `channels` channels."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.runs = grid(channels, kernel, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return _Shift.apply(x, self.runs) if self.training else shift(x, self.runs)


class SparseShift(nn.Module):
    """FE-Net's sparse shift layer (arXiv:1903.05285): every channel learns how far down and right it reads.

    Forward: x [N, C, H, W] shifted by the offsets rounded half away from zero, zero-filled. Backward: the input's
    gradient by the rounded shift; the offsets' as if the forward pass had interpolated bilinearly at their real values.
    The parameters `row_offsets` and `col_offsets` [C], in pixels, start as a 3x3 grid and want no weight decay.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        runs = grid(channels, 3)
        counts = [run.channels for run in runs]
        self.row_offsets = nn.Parameter(torch.tensor(np.repeat([float(run.rows) for run in runs], counts).tolist()))
        self.col_offsets = nn.Parameter(torch.tensor(np.repeat([float(run.cols) for run in runs], counts).tolist()))
        self._plan = Plan((), runs, runs)

    def forward(self, x: Tensor) -> Tensor:
        plan = self.plan()
        if self.training:
            return _SparseShift.apply(x, self.row_offsets, self.col_offsets, plan)  # type: ignore[no-any-return]
        return plan.unsort(shift(plan.sort(x), plan.moves))

    def penalty(self) -> Tensor:
        """The L1 norm of the offsets, a scalar; lambda times its sum over layers joins the loss, for sparse shifts."""
        return self.row_offsets.abs().sum() + self.col_offsets.abs().sum()

    def plan(self) -> Plan:
        """The plan of the present offsets; under torch.export and on meta tensors, which hide values, the last one."""
        if not (self.row_offsets.is_meta or torch.compiler.is_exporting()):
            self._plan = _plan(self.row_offsets.detach(), self.col_offsets.detach())
        return self._plan

    def train(self, mode: bool = True) -> "SparseShift":
        self.plan()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.plan()


def fold_permutations(network: nn.Module) -> None:
    """Renumbers channels in place wherever a block can (its `sort_channels`), so that sparse shifts need no gather.

    The function of the network stays the same. For export, not during training: optimisers would keep the old order.
    """
    for module in network.modules():
        if callable(sort := getattr(module, "sort_channels", None)):
            sort()


class _Shift(torch.autograd.Function):
    """`shift` in one copy forward and one backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: tuple[Run, ...]) -> Tensor:
        ctx.runs = runs
        return _move(x, runs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _move(grads[0], ctx.runs, -1), None


class _SparseShift(torch.autograd.Function):
    """The shift of a plan, with the straight-through gradient of the offsets."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, cols: Tensor, plan: Plan) -> Tensor:
        x = plan.sort(x)
        ctx.save_for_backward(x, rows, cols)
        ctx.plan = plan
        return plan.unsort(_move(x, plan.moves))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        plan: Plan = ctx.plan
        x, rows, cols = ctx.saved_tensors
        grad = plan.sort(grads[0])
        d_x = plan.unsort(_move(grad, plan.moves, -1)) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        q00, q01, q10, q11 = plan.unsort(_corners(x, grad, plan.cells)).to(rows.dtype)
        a, b = rows - rows.floor(), cols - cols.floor()
        d_rows = (1 - b) * (q10 - q00) + b * (q11 - q01)
        d_cols = (1 - a) * (q01 - q00) + a * (q11 - q10)
        return d_x, d_rows, d_cols, None


def _corners(x: Tensor, grad: Tensor, cells: Sequence[Run]) -> Tensor:
    """[4, C]: for the four pixels around the real-valued offset, sum over N, H, W of grad[h, w] * x[pixel]."""
    return torch.cat(
        [
            torch.stack([_correlation(p, g, run.rows + i, run.cols + j) for i in (0, 1) for j in (0, 1)])
            for run, p, g in _by_run(cells, x, grad)
        ],
        1,
    )


def _correlation(x: Tensor, grad: Tensor, rows: int, cols: int) -> Tensor:
    (h_out, h_in), (w_out, w_in) = _overlap(x.shape[2], rows), _overlap(x.shape[3], cols)
    return (grad[:, :, h_out, w_out] * x[:, :, h_in, w_in]).sum((0, 2, 3))


def _move(x: Tensor, runs: Sequence[Run], sign: int = 1) -> Tensor:
    """`shift` by sign * offsets straight into the result: half the copies, for use outside the graph of autograd."""
    out = torch.zeros_like(x)
    for run, source, target in _by_run(runs, x, out):
        (h_out, h_in), (w_out, w_in) = _overlap(x.shape[2], sign * run.rows), _overlap(x.shape[3], sign * run.cols)
        target[:, :, h_out, w_out] = source[:, :, h_in, w_in]
    return out


def _by_run(runs: Sequence[Run], *tensors: Tensor) -> Any:
    counts = [run.channels for run in runs]
    return zip(runs, *(torch.split(t, counts, 1) for t in tensors), strict=True)


def _overlap(size: int, step: int) -> tuple[slice, slice]:
    """Where `size` pixels shifted by `step` land, and where those that stay in the picture come from."""
    step = max(-size, min(size, step))
    return slice(max(-step, 0), size - max(step, 0)), slice(max(step, 0), size - max(-step, 0))


def _plan(rows: Tensor, cols: Tensor) -> Plan:
    offsets = torch.stack([rows, cols]).cpu()
    keys = torch.cat([(offsets.abs() + 0.5).floor().copysign(offsets), offsets.floor()]).int().numpy()
    order = np.lexsort(keys[::-1])
    ordered = keys[:, order].T.tolist()
    is_sorted = bool((np.diff(order) > 0).all())
    return Plan(
        () if is_sorted else tuple(order.tolist()),
        tuple(Run(rows, cols, len(list(run))) for (rows, cols), run in groupby(k[:2] for k in ordered)),
        tuple(Run(rows, cols, len(list(run))) for (*_, rows, cols), run in groupby(ordered)),
    )
