"""Depthwise convolutions: no taps outside of small maps, no padded copies, and weight gradients by a loop of our own.

oneDNN has no fast gradients of depthwise convolutions that are strided or dilated, of large kernels, or of maps hardly larger
than the kernel.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from evaluators.training.kernels.maps import channels_last, pixels, trainable
from search_spaces.ops.conv import DepthwiseConv2d, PaddedConv2d
from search_spaces.ops.padding import same

_LEAST = 5  # pixels of a map's side from which oneDNN's weight gradient of a plain 3x3 kernel is as fast


class Geometry(NamedTuple):
    """How a convolution walks over a map, in pixels."""

    stride: int
    padding: int
    dilation: int


class FastDepthwiseConv2d(DepthwiseConv2d):
    """While training, taps that lie outside the map at every position are left out: on the small maps that short trainings
    on small images have, a dilated or large kernel is mostly such taps. The result is the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        (stride, _), (dilation, _), half = self.stride, self.dilation, self.kernel_size[0] // 2
        reach = (max(x.shape[-2:]) - 1) // dilation
        if reach == 0:
            return x[:, :, ::stride, ::stride] * self.weight[:, :, half, half].view(1, -1, 1, 1)
        weight = self.weight
        if reach < half:
            weight, half = weight[:, :, half - reach : half + reach + 1, half - reach : half + reach + 1], reach
        geometry = Geometry(stride, half * dilation, dilation)
        if depthwise_applies(x, 2 * half + 1, geometry):
            return depthwise(x, weight, geometry)
        return F.conv2d(x, weight, None, stride, half * dilation, dilation, self.groups)


class FastPaddedConv2d(PaddedConv2d):
    """While training, a depthwise one does without a padded copy of its map where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        plain = self.groups == self.in_channels == self.out_channels and self.bias is None
        if self.training and plain and self.rule == "same" and depthwise_applies(x, kernel, Geometry(stride, 0, 1)):
            rows, cols = same(x, kernel, stride)
            if rows == cols:
                return depthwise(x, self.weight, Geometry(stride, rows // 2, 1), lopsided=rows % 2 == 1)
        return super().forward(x)


def depthwise_applies(x: Tensor, kernel: int, geometry: Geometry) -> bool:
    """Whether `depthwise` is faster than torch for `x` [N, C, H, W]."""
    slow = kernel > 3 or geometry.dilation > 1 or geometry.stride > 1 or min(x.shape[2:]) < _LEAST
    return slow and trainable(x)


def depthwise(x: Tensor, weight: Tensor, geometry: Geometry, lopsided: bool = False) -> Tensor:
    """Depthwise convolution of `x` [N, C, H, W] by `weight` [C, 1, K, K], K odd, with its padding at all edges.

    The padding is the dilation times (K - 1) / 2; without a dilation it may be less. `lopsided` pads the lower and the right
    edge by a pixel more.
    """
    return _Depthwise.apply(x, weight, geometry, lopsided)


@cache
def _weight_gradient() -> Callable[..., None]:
    """Imported when first needed: the first process on a machine compiles the loop."""
    from evaluators.training.kernels.weight_gradient import depthwise_weight_gradient

    return depthwise_weight_gradient  # type: ignore[no-any-return]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry, lopsided: bool) -> Tensor:
        stride, padding, dilation = geometry
        even = F.pad(weight, (1, 0, 1, 0)) if lopsided else weight  # a row and a column of zeros take up the pixel more above
        ctx.save_for_backward(x, even)
        ctx.geometry, ctx.lopsided = geometry, int(lopsided)
        return F.conv2d(x, even, None, stride, padding + ctx.lopsided, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (stride, padding, dilation), more = ctx.saved_tensors, ctx.geometry, ctx.lopsided
        dy, widened = channels_last(dy), Geometry(stride, padding + more, dilation)
        dx = _input_gradient(x, weight, dy, widened) if ctx.needs_input_grad[0] else None
        dweight = torch.zeros(weight.shape[2] - more, weight.shape[3] - more, len(weight))
        _weight_gradient()(pixels(x), pixels(dy), (stride, padding, dilation), dweight.numpy())
        return dx, dweight.permute(2, 0, 1).unsqueeze(1), None, None


def _input_gradient(x: Tensor, weight: Tensor, dy: Tensor, geometry: Geometry) -> Tensor:
    """The gradient by `x`: where the kernel is dilated, a convolution of `dy`, which is fast, with the kernel turned round."""
    stride, padding, dilation = geometry
    if dilation == 1:
        shape = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight))
        return torch.ops.aten.convolution_backward(dy, x, weight, None, *shape, [True, False, False])[0]
    spread = dy
    if stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, ::stride, ::stride] = dy
    return F.conv2d(spread, weight.flip(2, 3), None, 1, padding, dilation, len(weight))
