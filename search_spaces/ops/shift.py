"""Shifts of feature maps by moving data; the grouped shift of ShiftNet."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Order = Literal["contiguous", "modulo"]


class Run(NamedTuple):
    """`channels` channels in a row that read from `rows` further down and `cols` further right."""

    rows: int
    cols: int
    channels: int


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
    return torch.cat([_shift_part(part, run.rows, run.cols, height, width) for run, part in by_run(runs, x)], -3)


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
            return self.shifted(x)
        c, (h, w) = int(x.shape[1]), pixels(x)
        rest = c % self.period
        if rest == c:
            return x
        if rest:
            return torch.cat([self(x[:, :-rest]), x[:, -rest:]], 1)
        return self.shifted(x.reshape(-1, c // self.period, self.period, h, w)).reshape(-1, c, h, w)

    def shifted(self, x: Tensor) -> Tensor:
        """Shifted as the runs say."""
        return shift(x, self.runs)


def by_run(runs: Sequence[Run], *tensors: Tensor) -> Any:
    """Each run with its channels of each tensor."""
    counts = [run.channels for run in runs]
    return zip(runs, *(split(t, counts, -3) for t in tensors), strict=True)


def fold_permutations(network: nn.Module) -> None:
    """Renumbers channels in place wherever a block can (its `sort_channels`), so that sparse shifts need no gather.

    The function of the network stays the same. For export, not during training: optimisers would keep the old order.
    """
    for module in network.modules():
        if callable(sort := getattr(module, "sort_channels", None)):
            sort()
