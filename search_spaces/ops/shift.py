"""Shifts of feature maps by moving data: the grouped shift of ShiftNet and the learnable sparse shift of FE-Net."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from search_spaces.ops import one_thread

Order = Literal["contiguous", "modulo"]


class Run(NamedTuple):
    """`channels` channels in a row that read from `rows` further down and `cols` further right."""

    rows: int
    cols: int
    channels: int


class Plan(NamedTuple):
    """How a learnt shift moves channels: sort them by `order` (empty: they are sorted), then shift them run by run.

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


def shift(x: Tensor, runs: Sequence[Run], size: tuple[int, int] | None = None) -> Tensor:
    """x [..., C, H, W] with each run of channels shifted, zero-filled: out[h, w] = x[h + rows, w + cols].

    The result has H x W pixels, or `size`. One pad a run, which crops too, between one split and one concatenation:
    in ONNX Runtime on a CPU no way of only moving data was faster (benchmarks/shift.md).
    """
    if size is None and not any(run.rows or run.cols for run in runs):
        return x
    height, width = size or pixels(x)
    return torch.cat([_shift_part(part, run.rows, run.cols, height, width) for run, part in _by_run(runs, x)], -3)


def pixels(x: Tensor) -> tuple[int, int]:
    """Height and width as numbers, which are constants in an exported graph."""
    return int(x.shape[-2]), int(x.shape[-1])


def split(x: Tensor, widths: list[int], dim: int) -> Sequence[Tensor]:
    """torch.split, but a single part is x itself: ONNX Runtime would copy it, and LiteRT's converter fails on it."""
    return torch.split(x, widths, dim) if len(widths) > 1 else (x,)


def _shift_part(x: Tensor, rows: int, cols: int, height: int, width: int) -> Tensor:
    h, w = pixels(x)
    if rows >= h or cols >= w or -rows >= height or -cols >= width:
        return x.new_zeros((*x.shape[:-2], height, width))
    around = (-cols, width - w + cols, -rows, height - h + rows)
    return pad(x, around) if any(around) else x


def grouped_shift(x: Tensor, kernel: int, dilation: int = 1, order: Order = "contiguous") -> Tensor:
    """ShiftNet's shift (arXiv:1711.08141) of x [N, C, H, W]: C // kernel^2 channels an offset, the remainder unshifted.

    Groups are contiguous, in rows of offsets, the remainder with the centre. `modulo` interleaves them as the authors'
    code does (peterhj/shiftnet_cuda_v2): channel c has offset c modulo kernel^2, the last C modulo kernel^2 channels stay.
    Between two 1x1 convolutions both are the same network with its channels renumbered.
    """
    return GroupedShift(x.shape[1], kernel, dilation, order).eval()(x)  # type: ignore[no-any-return]


class GroupedShift(nn.Module):
    """`grouped_shift` for maps of `channels` channels."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1, order: Order = "contiguous") -> None:
        super().__init__()
        self.period = kernel**2 if order == "modulo" else 0
        self.runs = grid(self.period or channels, kernel, dilation)

    def forward(self, x: Tensor) -> Tensor:
        if not self.period:
            return self._shift(x)
        c, (h, w) = int(x.shape[1]), pixels(x)
        rest = c % self.period
        if rest == c:
            return x
        if rest:
            return torch.cat([self(x[:, :-rest]), x[:, -rest:]], 1)
        return self._shift(x.reshape(-1, c // self.period, self.period, h, w)).reshape(-1, c, h, w)

    def _shift(self, x: Tensor) -> Tensor:
        return _Move.apply(x, self.runs) if self.training else shift(x, self.runs)


class LearntShift(nn.Module, ABC):
    """A shift whose channels learn how far down (`row_offsets`) and right (`col_offsets`) they read, [C] each, in pixels.

    These parameters want no weight decay. The plan by which channels move follows from them.
    """

    def __init__(self, rows: Tensor, cols: Tensor, plan: Plan) -> None:
        super().__init__()
        self.row_offsets, self.col_offsets = nn.Parameter(rows), nn.Parameter(cols)
        self._plan = plan
        self._planned_for: tuple[list[float], list[float]] = ([], [])

    def penalty(self) -> Tensor:
        """The L1 norm of the offsets, a scalar; lambda times its sum over layers joins the loss, for sparse shifts."""
        return self.row_offsets.abs().sum() + self.col_offsets.abs().sum()

    def plan(self) -> Plan:
        """The plan of the present offsets; under torch.export and on meta tensors, which hide values, the last one."""
        if not (self.row_offsets.is_meta or torch.compiler.is_exporting()):
            offsets = self.row_offsets.detach(), self.col_offsets.detach()
            if (values := (offsets[0].tolist(), offsets[1].tolist())) != self._planned_for:
                self._plan, self._planned_for = self._planned(*offsets), values
        return self._plan

    @abstractmethod
    def _planned(self, rows: Tensor, cols: Tensor) -> Plan:
        """The plan of these offsets."""

    def train(self, mode: bool = True) -> Self:
        self.plan()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.plan()


class SparseShift(LearntShift):
    """FE-Net's sparse shift layer (arXiv:1903.05285): every channel learns how far down and right it reads.

    Forward: x [N, C, H, W] shifted by the offsets rounded half away from zero, zero-filled. Backward: the input's
    gradient by the rounded shift; the offsets' as if the forward pass had interpolated bilinearly at their real values.
    The offsets start as a 3x3 grid.
    """

    def __init__(self, channels: int) -> None:
        runs = grid(channels, 3)
        counts = [run.channels for run in runs]
        rows, cols = (np.repeat([float(run[i]) for run in runs], counts).tolist() for i in (0, 1))
        super().__init__(torch.tensor(rows), torch.tensor(cols), Plan((), runs, runs))

    def forward(self, x: Tensor) -> Tensor:
        plan = self.plan()
        if self.training:
            return _SparseShift.apply(x, self.row_offsets, self.col_offsets, plan)  # type: ignore[no-any-return]
        return plan.unsort(shift(plan.sort(x), plan.moves))

    def _planned(self, rows: Tensor, cols: Tensor) -> Plan:
        return make_plan(rows, cols)


def freeze_offsets(network: nn.Module, frozen: bool = True) -> None:
    """Stops learnt shifts from learning (or lets them again); their L1 penalty then has no gradient either.

    FE-Net's authors train offsets for the first half of the epochs (hikvision-research/SparseShiftLayer).
    """
    for module in network.modules():
        if isinstance(module, LearntShift):
            module.requires_grad_(not frozen)


def fold_permutations(network: nn.Module) -> None:
    """Renumbers channels in place wherever a block can (its `sort_channels`), so that sparse shifts need no gather.

    The function of the network stays the same. For export, not during training: optimisers would keep the old order.
    """
    for module in network.modules():
        if callable(sort := getattr(module, "sort_channels", None)):
            sort()


class _Move(torch.autograd.Function):
    """`shift` in one copy forward and one backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: tuple[Run, ...], size: tuple[int, int] | None = None) -> Tensor:
        ctx.runs, ctx.size = runs, tuple(x.shape[-2:])
        return _move(x, runs, size or ctx.size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _move(grads[0], ctx.runs, ctx.size, -1), None, None


def move(x: Tensor, runs: tuple[Run, ...], size: tuple[int, int]) -> Tensor:
    """`shift` for training: half its copies."""
    return _Move.apply(x, runs, size)  # type: ignore[no-any-return]


class _SparseShift(torch.autograd.Function):
    """The shift of a plan, with the straight-through gradient of the offsets."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, cols: Tensor, plan: Plan) -> Tensor:
        x = plan.sort(x)
        ctx.save_for_backward(x, rows, cols)
        ctx.plan = plan
        return plan.unsort(_move(x, plan.moves, x.shape[-2:]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        plan: Plan = ctx.plan
        x, rows, cols = ctx.saved_tensors
        grad = plan.sort(grads[0])
        d_x = plan.unsort(_move(grad, plan.moves, grad.shape[-2:], -1)) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:3]):
            return d_x, None, None, None
        q00, q01, q10, q11 = plan.unsort(_corners(x, grad, plan.cells)).to(rows.dtype)
        a, b = rows - rows.floor(), cols - cols.floor()
        d_rows = (1 - b) * (q10 - q00) + b * (q11 - q01)
        d_cols = (1 - a) * (q01 - q00) + a * (q11 - q10)
        return d_x, d_rows, d_cols, None


def _corners(x: Tensor, grad: Tensor, cells: Sequence[Run]) -> Tensor:
    """[4, C]: for the four pixels around the real-valued offset, sum over N, H, W of grad[h, w] * x[pixel]."""
    if one_thread.shift_applies(x) and one_thread.shift_applies(grad):
        return one_thread.shift_correlations(x, grad, cells).flatten(0, 1)
    return torch.cat(
        [
            torch.stack([_correlation(p, g, run.rows + i, run.cols + j) for i in (0, 1) for j in (0, 1)])
            for run, p, g in _by_run(cells, x, grad)
        ],
        1,
    )


def _correlation(x: Tensor, grad: Tensor, rows: int, cols: int) -> Tensor:
    h, w = x.shape[-2:]
    (h_out, h_in), (w_out, w_in) = _overlap(h, h, rows), _overlap(w, w, cols)
    return (grad[:, :, h_out, w_out] * x[:, :, h_in, w_in]).sum((0, 2, 3))


def _move(x: Tensor, runs: Sequence[Run], size: Sequence[int], sign: int = 1) -> Tensor:
    """`shift` by sign * offsets straight into the result: half the copies, for use outside the graph of autograd."""
    if one_thread.shift_applies(x):
        return one_thread.shift(x, runs, sign, size)
    h, w = x.shape[-2:]
    out = torch.zeros_like(x) if (h, w) == tuple(size) else _zeros(x, size)
    for run, source, target in _by_run(runs, x, out):
        (h_out, h_in), (w_out, w_in) = _overlap(size[0], h, sign * run.rows), _overlap(size[1], w, sign * run.cols)
        target[..., h_out, w_out] = source[..., h_in, w_in]
    return out


def _zeros(x: Tensor, size: Sequence[int]) -> Tensor:
    """Zeros of another size in the memory format of x [N, C, H, W]."""
    format_ = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return x.new_empty((*x.shape[:-2], *size)).to(memory_format=format_).zero_()


def _by_run(runs: Sequence[Run], *tensors: Tensor) -> Any:
    counts = [run.channels for run in runs]
    return zip(runs, *(split(t, counts, -3) for t in tensors), strict=True)


def _overlap(n_out: int, n_in: int, step: int) -> tuple[slice, slice]:
    """Which of `n_out` pixels read inside `n_in` pixels when each reads `step` further on, and which they read."""
    first = max(-step, 0)
    end = max(first, min(n_out, n_in - step))
    return slice(first, end), slice(first + step, end + step)


def make_plan(rows: Tensor, cols: Tensor) -> Plan:
    """The plan of offsets [C]."""
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
