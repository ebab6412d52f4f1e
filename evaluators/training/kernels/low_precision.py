"""Convolutions in bfloat16 while training, about twice as fast where the processor multiplies bfloat16 natively.

Inputs, weights and results are rounded to bfloat16 (8 bits of precision), sums are in float32, as in mixed-precision training
elsewhere (Micikevicius et al., arXiv:1710.03740; Kalamkar et al., arXiv:1905.12322). All else stays in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from evaluators.training.kernels.pointwise import FastConv2d

_LEAST = 16  # channels of input and output from which it is faster
_on = ContextVar("bfloat16 convolutions", default=False)


@cache
def native() -> bool:
    """Whether this processor multiplies bfloat16 numbers natively."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def bfloat16_convolutions() -> Iterator[None]:
    """Within it, layers in training mode use `convolution` where it applies."""
    token = _on.set(True)
    try:
        yield
    finally:
        _on.reset(token)


def applies(layer: nn.Module, x: Tensor) -> TypeGuard[nn.Conv2d]:
    """Whether `convolution` may take the place of a layer for `x` [N, C, H, W]."""
    return (
        _on.get()
        and type(layer) in (nn.Conv2d, FastConv2d)
        and isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.bias is None
        and layer.training
        and min(layer.in_channels, layer.out_channels) >= _LEAST
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What the layer makes of `x` [N, C, H, W], in bfloat16, as is the gradient that it takes."""
    if layer.kernel_size == layer.stride == (1, 1):
        return _Pointwise.apply(x, layer.weight)
    return _Convolution.apply(x, layer.weight, layer.stride, layer.padding, layer.dilation)


class _Pointwise(torch.autograd.Function):
    """A 1x1 convolution as the matrix product that it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        rows, matrix = _rows(x).bfloat16(), weight.flatten(1).bfloat16()
        ctx.save_for_backward(rows, matrix)
        return _map(rows @ matrix.T, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor]:
        rows, matrix = ctx.saved_tensors
        dy_rows = _rows(dy)
        dx = _map((dy_rows @ matrix).float(), dy) if ctx.needs_input_grad[0] else None
        return dx, (dy_rows.T @ rows).float()[:, :, None, None]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, *shape: Any) -> Tensor:
        """`shape` is stride, padding, dilation."""
        x, weight, ctx.shape = x.bfloat16(), weight.bfloat16(), shape
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, None, *ctx.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        wanted, dy = [*ctx.needs_input_grad[:2], False], dy.contiguous(memory_format=torch.channels_last)
        both = torch.ops.aten.convolution_backward(dy, *ctx.saved_tensors, None, *ctx.shape, False, [0, 0], 1, wanted)
        return *(None if gradient is None else gradient.float() for gradient in both[:2]), None, None, None


def _rows(x: Tensor) -> Tensor:
    """[N H W, C] of a map [N, C, H, W], on the same memory where that is in channels_last."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _map(rows: Tensor, like: Tensor) -> Tensor:
    """[N, C, H, W], in channels_last, of rows [N H W, C], with the sizes of another map."""
    n, _, h, w = like.shape
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)
