"""The active shift layer of AS-ResNet: every channel shifted by real-valued offsets that it learns."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample

from search_spaces.ops.learnt_shift import LearntShift, Plan, make_plan
from search_spaces.ops.shift import Run, pixels, shift

# Elements of the result for each cell of channels, below which GridSample is the faster form in ONNX Runtime: it takes
# 10 ns an element more, a cell 5 us (benchmarks/shift.md).
_FEW = 500


class ActiveShift(LearntShift):
    """Active shift layer (arXiv:1806.07370): x [N, C, H, W] read at real-valued offsets, bilinearly, zero outside.

    out[h, w] = x[h * stride + row_offset, w * stride + col_offset]; the derivatives are those of the interpolation. The
    offsets start uniform in -1..1, sorted by their whole parts; the authors train them at a hundredth of the learning rate.
    In eval mode, offsets that are all whole numbers move data and compute nothing.

    Channels whose offsets have the same whole part, a cell, move together; what is left is a 2x2 depthwise convolution with
    the weights of the interpolation, 4 multiply-adds an element. That is the form for training and for ONNX. One
    grid_sample with the images as channels serves torch's eval mode, and ONNX for small maps of many cells.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        rows, cols = torch.empty(2, channels).uniform_(-1, 1)
        if rows.is_meta:
            plan = _even(channels)
        else:
            order = make_plan(rows.floor(), cols.floor()).order or tuple(range(channels))
            rows, cols = rows[order,], cols[order,]
            plan = make_plan(rows.floor(), cols.floor())
        super().__init__(rows.clone(), cols.clone(), plan)
        self.stride = stride
        self._whole = False

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, (H - 1) // stride + 1, (W - 1) // stride + 1]."""
        plan = self.plan()
        if self.training:
            return self.by_cell(x, plan)
        if self._whole:
            return plan.unsort(shift(plan.sort(x), plan.moves)[:, :, :: self.stride, :: self.stride])
        height, width = (_shrunk(n, self.stride) for n in pixels(x))
        if torch.onnx.is_in_onnx_export() and x.shape[1] * height * width >= _FEW * len(plan.cells):
            return self.by_cell(x, plan)
        return self._sampled(x, height, width)

    def by_cell(self, x: Tensor, plan: Plan) -> Tensor:
        """Channels moved by cells, then interpolated between each four neighbours."""
        weight = self.weights(plan)
        around = shift(plan.sort(x), plan.moves, self.reach(x))
        return plan.unsort(conv2d(around, weight, None, self.stride, groups=x.shape[1]))

    def weights(self, plan: Plan) -> Tensor:
        """Those of the interpolation [C, 1, 2, 2], in the plan's order."""
        a, b = (offsets - offsets.floor() for offsets in (self.row_offsets, self.col_offsets))
        weight = torch.stack([1 - a, a], 1).unsqueeze(2) * torch.stack([1 - b, b], 1).unsqueeze(1)
        return plan.sort(weight.unsqueeze(0)).transpose(0, 1)

    def reach(self, x: Tensor) -> tuple[int, int]:
        """Height and width of the pixels that the interpolation reads."""
        height, width = ((_shrunk(n, self.stride) - 1) * self.stride + 2 for n in pixels(x))
        return height, width

    def _sampled(self, x: Tensor, height: int, width: int) -> Tensor:
        """Pixel centres are at (2 i + 1) / size - 1 in grid_sample's coordinates."""
        rows = torch.arange(height, device=x.device).mul(self.stride) + self.row_offsets.view(-1, 1)
        cols = torch.arange(width, device=x.device).mul(self.stride) + self.col_offsets.view(-1, 1)
        h, w = pixels(x)
        rows, cols = (2 * rows + 1) / h - 1, (2 * cols + 1) / w - 1
        shape = (x.shape[1], height, width)
        grid = torch.stack([cols.unsqueeze(1).expand(shape), rows.unsqueeze(2).expand(shape)], -1)
        return grid_sample(x.transpose(0, 1), grid, align_corners=False).transpose(0, 1)

    def _planned(self, rows: Tensor, cols: Tensor) -> Plan:
        below = rows.floor(), cols.floor()
        self._whole = torch.equal(below[0], rows) and torch.equal(below[1], cols)
        return make_plan(*below)


def _shrunk(size: int, stride: int) -> int:
    return (size - 1) // stride + 1


def _even(channels: int) -> Plan:
    """A plan for shapes without values: as many channels in each of the four cells that touch the origin."""
    counts = [(channels + i) // 4 for i in range(4)]
    runs = tuple(Run(i // 2 - 1, i % 2 - 1, count) for i, count in enumerate(counts) if count)
    return Plan((), runs, runs)
