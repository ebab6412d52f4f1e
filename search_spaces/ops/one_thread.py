"""What training on one thread computes by loops of its own (search_spaces.ops.kernels), many times as fast as torch in places.

torch's batch norm and activation read or write a map fourteen times in a step, these loops eight times; oneDNN has no fast
gradients of depthwise convolutions that are strided or dilated, of large kernels, or of maps hardly larger than the kernel.
Results are torch's up to rounding. With more threads, elsewhere than on a CPU, for other types and layouts, and where no
gradient is recorded, torch computes.
"""

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, TypeGuard

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_spaces.ops.activation import Hardswish, ReLU6

Runs = Sequence[tuple[int, int, int]]  # how far down, how far right, how many channels

_CODES: dict[type[nn.Module], int] = {nn.ReLU: 1, ReLU6: 2, Hardswish: 3, nn.PReLU: 4}  # as in search_spaces.ops.kernels
_LEAST = 5  # pixels of a map's side from which oneDNN's weight gradient of a plain 3x3 kernel is as fast


@cache
def _kernels() -> ModuleType:
    """Imported when first needed: compiling the loops takes seconds in the first process that does it."""
    from search_spaces.ops import kernels

    return kernels


def _applies(x: Tensor, *types: torch.dtype) -> bool:
    return torch.is_grad_enabled() and _readable(x, *types)


def _readable(x: Tensor, *types: torch.dtype) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in types
        and torch.get_num_threads() == 1
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def batch_norm_applies(norm: nn.Module, x: Tensor) -> TypeGuard[nn.BatchNorm2d]:
    """Whether `batch_norm` can take the place of `norm` for `x` [N, C, H, W]."""
    if not isinstance(norm, nn.BatchNorm2d):
        return False
    moving = norm.affine and norm.track_running_stats and norm.momentum is not None
    return norm.training and moving and x.numel() > x.shape[1] and _applies(x, torch.float32, torch.bfloat16)


def activation_code(layer: nn.Module) -> int:
    """What the loops call an activation, 0 for one that they do not have."""
    return _CODES.get(type(layer), 0)


def batch_norm(x: Tensor, norm: nn.BatchNorm2d, activation: nn.Module | None) -> Tensor:
    """`norm`, which is in training mode, and an activation that has a code, if any, on `x` [N, C, H, W]."""
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    learnt = norm.weight, norm.bias, activation.weight.expand(x.shape[1]) if isinstance(activation, nn.PReLU) else None
    code = activation_code(activation) if activation else 0
    return _BatchNorm.apply(x, *learnt, norm.running_mean, norm.running_var, norm.momentum, norm.eps, code)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        slopes: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        epsilon: float,
        code: int,
    ) -> Tensor:
        y, ctx.rows, ctx.kept = torch.empty_like(x, dtype=torch.float32), _rows(x), np.empty((4, x.shape[1]), np.float32)
        learnt = (weight.detach().numpy(), bias.detach().numpy(), running_mean.numpy(), running_var.numpy())
        ctx.act = code, np.zeros_like(ctx.kept[0]) if slopes is None else slopes.detach().numpy().copy()
        _kernels().batch_norm(ctx.rows, *learnt, momentum, epsilon, *ctx.act, _rows(y), ctx.kept)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors  # which sees to it that nobody has overwritten the rows
        dx, learnt = torch.empty_like(x), np.empty((3, x.shape[1]), np.float32)
        dy_rows = _rows(dy.contiguous(memory_format=torch.channels_last))
        _kernels().batch_norm_gradient(ctx.rows, dy_rows, ctx.kept, *ctx.act, _rows(dx), *learnt)
        dweight, dbias, dslopes = map(torch.from_numpy, learnt)
        return dx, dweight, dbias, dslopes if ctx.needs_input_grad[3] else None, None, None, None, None, None


def depthwise_applies(x: Tensor, kernel: int, dilation: int, stride: int) -> bool:
    """Whether `depthwise` is faster than torch for `x` [N, C, H, W]."""
    return (kernel > 3 or dilation > 1 or stride > 1 or min(x.shape[2:]) < _LEAST) and _applies(x, torch.float32)


def depthwise(x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int, lopsided: bool = False) -> Tensor:
    """Depthwise convolution of `x` [N, C, H, W] by `weight` [C, 1, K, K], K odd, with `padding` pixels at all edges.

    `padding` is `dilation` (K - 1) / 2; without a dilation it may be less. `lopsided` pads the lower and the right edge by a
    pixel more.
    """
    return _Depthwise.apply(x, weight, stride, padding, dilation, lopsided)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int, lopsided: bool) -> Tensor:
        even = F.pad(weight, (1, 0, 1, 0)) if lopsided else weight  # a row and a column of zeros take up the pixel more above
        ctx.save_for_backward(x, even)
        ctx.shape, ctx.lopsided = (stride, padding, dilation), int(lopsided)
        return F.conv2d(x, even, None, stride, padding + ctx.lopsided, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (stride, padding, dilation), more = ctx.saved_tensors, ctx.shape, ctx.lopsided
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx = _input_gradient(x, weight, dy, stride, padding + more, dilation) if ctx.needs_input_grad[0] else None
        dweight = torch.zeros(weight.shape[2] - more, weight.shape[3] - more, len(weight))
        _kernels().depthwise_weight_gradient(_pixels(x), _pixels(dy), stride, padding, dilation, dweight.numpy())
        return dx, dweight.permute(2, 0, 1).unsqueeze(1), None, None, None, None


def _input_gradient(x: Tensor, weight: Tensor, dy: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
    """The gradient by `x`: where the kernel is dilated, a convolution of `dy`, which is fast, with the kernel turned round."""
    if dilation == 1:
        shape = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight))
        return torch.ops.aten.convolution_backward(dy, x, weight, None, *shape, [True, False, False])[0]
    spread = dy
    if stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, ::stride, ::stride] = dy
    return F.conv2d(spread, weight.flip(2, 3), None, 1, padding, dilation, len(weight))


def interleaved_applies(first: Tensor, second: Tensor) -> bool:
    """Whether `interleaved` can take two maps."""
    return first.shape == second.shape and _applies(second, torch.float32)


def interleaved(first: Tensor, second: Tensor) -> Tensor:
    """Channels of two maps [N, C, H, W] in turn, [N, 2 C, H, W]."""
    return _Interleaved.apply(first, second)


class _Interleaved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        n, c, h, w = first.shape
        both = torch.empty((n, 2 * c, h, w), memory_format=torch.channels_last)
        first, second = (part.contiguous(memory_format=torch.channels_last) for part in (first, second))
        _kernels().interleave(_numbers(first), _numbers(second), _numbers(both))
        return both

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = dy.shape
        first, second = (torch.empty((n, c // 2, h, w), memory_format=torch.channels_last) for _ in range(2))
        _kernels().deinterleave(_numbers(dy.contiguous(memory_format=torch.channels_last)), _numbers(first), _numbers(second))
        return first, second


def shift_applies(x: Tensor) -> bool:
    """Whether `shift` and `shift_correlations` can take a map. They record no gradient."""
    return _readable(x, torch.float32) and x.shape[1] >= _kernels().LANES


def shift(x: Tensor, runs: Runs, sign: int, size: Sequence[int]) -> Tensor:
    """`x` [N, C, H, W] with each run of channels shifted by `sign` times (rows, columns), to `size` pixels, zero-filled."""
    out = torch.empty((*x.shape[:2], *size), memory_format=torch.channels_last)
    _kernels().shift(_pixels(x), np.array(runs, np.int64), sign, _pixels(out))
    return out


def shift_correlations(x: Tensor, dy: Tensor, runs: Runs) -> Tensor:
    """[2, 2, C] of maps [N, C, H, W]: the sum of `dy` times what is (u, v) further in `x` than the run's (rows, columns)."""
    sums = torch.zeros((2, 2, x.shape[1]), dtype=torch.float64)
    _kernels().shift_correlations(_pixels(x), _pixels(dy), np.array(runs, np.int64), sums.numpy())
    return sums


def _pixels(x: Tensor) -> np.ndarray:
    """A map in channels_last as [N, H, W, C], on the same memory; bfloat16 as its bits."""
    numbers = x.detach().view(torch.uint16) if x.dtype == torch.bfloat16 else x.detach()
    return numbers.numpy().transpose(0, 2, 3, 1)


def _rows(x: Tensor) -> np.ndarray:
    """A map in channels_last as [N H W, C], on the same memory."""
    return _pixels(x).reshape(-1, x.shape[1], copy=False)


def _numbers(x: Tensor) -> np.ndarray:
    """A map in channels_last as [N H W C], on the same memory."""
    return _pixels(x).reshape(-1, copy=False)
