"""Shifts of feature maps; ShiftNet's grouped shift."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Order = Literal["contiguous", "modulo"]


class Run(NamedTuple):
    """`channels` consecutive channels that read `rows` pixels further down and `cols` further right."""

    rows: int
    cols: int
    channels: int


def grid(channels: int, kernel: int, dilation: int = 1) -> tuple[Run, ...]:
    """Equal runs of channels for the kernel^2 offsets, row by row; the centre, which is not shifted, takes the remainder."""
    each, rest = divmod(channels, kernel**2)
    steps = [dilation * (i - kernel // 2) for i in range(kernel)]
    runs = [Run(r, c, each + (0 if r or c else rest)) for r in steps for c in steps]
    return tuple(run for run in runs if run.channels)


def shift(x: Tensor, runs: Sequence[Run], size: tuple[int, int] | None = None) -> Tensor:
    """x [..., C, H, W] with each run of channels shifted, zero-filled: out[h, w] = x[h + rows, w + cols].

    The result has H x W pixels, or `size`. Implemented as a split, one pad per run (which also crops) and a concatenation:
    the fastest of the data-moving variants in ONNX Runtime on a CPU (benchmarks/shift.md).
    """
    if size is None and not any(run.rows or run.cols for run in runs):
        return x
    height, width = size or pixels(x)
    return torch.cat([_shift_part(part, run.rows, run.cols, height, width) for run, part in by_run(runs, x)], -3)


def pixels(x: Tensor) -> tuple[int, int]:
    """Height and width as Python ints, which become constants in an exported graph."""
    return int(x.shape[-2]), int(x.shape[-1])


def split(x: Tensor, widths: list[int], dim: int) -> Sequence[Tensor]:
    """torch.split, but returns x itself for a single part, which ONNX Runtime would copy and LiteRT's converter rejects."""
    return torch.split(x, widths, dim) if len(widths) > 1 else (x,)


def _shift_part(x: Tensor, rows: int, cols: int, height: int, width: int) -> Tensor:
    h, w = pixels(x)
    if rows >= h or cols >= w or -rows >= height or -cols >= width:
        return x.new_zeros((*x.shape[:-2], height, width))
    around = (-cols, width - w + cols, -rows, height - h + rows)
    return pad(x, around) if any(around) else x


def grouped_shift(x: Tensor, kernel: int, dilation: int = 1, order: Order = "contiguous") -> Tensor:
    """ShiftNet's shift (arXiv:1711.08141) of x [N, C, H, W]: C // kernel^2 channels per offset, the remainder unshifted.

    Groups are contiguous, ordered by rows of offsets, with the remainder at the centre. `modulo` interleaves them as in the
    authors' code (peterhj/shiftnet_cuda_v2): channel c has offset c modulo kernel^2, and the last C modulo kernel^2 channels
    are not shifted. Between two 1x1 convolutions, both are equivalent up to a permutation of channels.
    """
    return GroupedShift(x.shape[1], kernel, dilation, order).eval()(x)  # type: ignore[no-any-return]


class GroupedShift(nn.Module):
    """`grouped_shift` for `channels` channels."""

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
        """Shifts x by the runs."""
        return shift(x, self.runs)


def by_run(runs: Sequence[Run], *tensors: Tensor) -> Any:
    """Each run with its slice of channels of each tensor."""
    counts = [run.channels for run in runs]
    return zip(runs, *(split(t, counts, -3) for t in tensors), strict=True)


def fold_permutations(network: nn.Module) -> None:
    """Permutes channels in place in blocks that support it (`sort_channels`), so that sparse shifts need no gather.

    Preserves the network's function. For export only: during training, optimizer states would keep the old order.
    """
    for module in network.modules():
        if callable(sort := getattr(module, "sort_channels", None)):
            sort()
