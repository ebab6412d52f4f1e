"""grouped_shift, active_shift, sparse_shift: shift operations as separate blocks."""

from typing import Literal

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.active_shift import ActiveShift
from search_spaces.ops.shift import GroupedShift, Order
from search_spaces.ops.sparse_shift import SparseShift
from search_spaces.registry import block


@block("grouped_shift")
class GroupedShiftBlock(nn.Module):
    """Shifts channel groups by the offsets of a kernel x kernel grid; keeps the width.

    Groups are contiguous, or interleaved as in the authors' code (`order=modulo`). With fewer than kernel^2 channels, nothing
    is shifted. arXiv:1711.08141.
    """

    def __init__(self, c_in: int, *, kernel: Literal[3, 5, 7] = 3, dilation: int = 1, order: Order = "contiguous") -> None:
        super().__init__()
        if dilation < 1:
            raise InputError(f"dilation must be 1 or more, not {dilation}")
        self.shift = GroupedShift(c_in, kernel, dilation, order)

    def forward(self, x: Tensor) -> Tensor:
        return self.shift(x)  # type: ignore[no-any-return]


@block("active_shift")
class ActiveShiftBlock(nn.Module):
    """Shifts each channel by learnt real-valued offsets, with bilinear interpolation; keeps the width. arXiv:1806.07370."""

    def __init__(self, c_in: int, stride: int) -> None:
        super().__init__()
        self.shift = ActiveShift(c_in, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] to [N, c_in, H/stride, W/stride], sizes rounded up."""
        return self.shift(x)  # type: ignore[no-any-return]


@block("sparse_shift")
class SparseShiftBlock(nn.Module):
    """Shifts each channel by learnt offsets, rounded to whole pixels; keeps the width. arXiv:1903.05285."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.shift = SparseShift(c_in)

    def forward(self, x: Tensor) -> Tensor:
        return self.shift(x)  # type: ignore[no-any-return]
