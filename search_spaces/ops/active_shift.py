"""AS-ResNet's active shift layer: each channel is shifted by learnt real-valued offsets."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample

from search_spaces.ops.learnt_shift import LearntShift, Plan, make_plan
from search_spaces.ops.shift import Run, pixels, shift

# Output elements per cell below which GridSample is faster in ONNX Runtime: it costs 10 ns more per element, a cell 5 us
# (benchmarks/shift.md).
_FEW = 500


class ActiveShift(LearntShift):
    """Active shift layer (arXiv:1806.07370): samples x [N, C, H, W] at real-valued offsets, bilinearly, zero outside.

    out[h, w] = x[h * stride + row_offset, w * stride + col_offset]; gradients are those of the interpolation. Offsets start
    uniform in -1..1, sorted by integer part; the authors train them at a hundredth of the learning rate. In eval mode,
    all-integer offsets move data without computing.

    Channels whose offsets have the same integer part, a cell, are shifted together, followed by a 2x2 depthwise convolution
    with the interpolation weights, 4 multiply-adds per element. Training and ONNX use this form. torch's eval mode uses one
    grid_sample with the images as channels, as does ONNX for small feature maps with many cells.
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
        """Shifts channels cell by cell, then interpolates between four neighbours."""
        weight = self.weights(plan)
        around = shift(plan.sort(x), plan.moves, self.reach(x))
        return plan.unsort(conv2d(around, weight, None, self.stride, groups=x.shape[1]))

    def weights(self, plan: Plan) -> Tensor:
        """The interpolation weights [C, 1, 2, 2], in the plan's order."""
        a, b = (offsets - offsets.floor() for offsets in (self.row_offsets, self.col_offsets))
        weight = torch.stack([1 - a, a], 1).unsqueeze(2) * torch.stack([1 - b, b], 1).unsqueeze(1)
        return plan.sort(weight.unsqueeze(0)).transpose(0, 1)

    def reach(self, x: Tensor) -> tuple[int, int]:
        """Height and width of the region that the interpolation reads."""
        height, width = ((_shrunk(n, self.stride) - 1) * self.stride + 2 for n in pixels(x))
        return height, width

    def _sampled(self, x: Tensor, height: int, width: int) -> Tensor:
        """Samples by grid_sample, whose coordinates put pixel centres at (2 i + 1) / size - 1."""
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
    """A plan for the meta device: channels spread evenly over the four cells at the origin."""
    counts = [(channels + i) // 4 for i in range(4)]
    runs = tuple(Run(i // 2 - 1, i % 2 - 1, count) for i, count in enumerate(counts) if count)
    return Plan((), runs, runs)
