"""Layers in a row: a batch norm and the activation behind it at once, convolutions in bfloat16.

torch's batch norm and activation read or write a map fourteen times in a step, the loops eight times.
"""

from functools import cache
from types import ModuleType
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from evaluators.training.kernels import low_precision
from evaluators.training.kernels.maps import channels_last, rows, trainable
from search_spaces.ops.activation import Hardswish, ReLU6
from search_spaces.ops.norm_act import Layers

_CODES: dict[type[nn.Module], int] = {nn.ReLU: 1, ReLU6: 2, Hardswish: 3, nn.PReLU: 4}  # as in loops.batch_norm


class FastLayers(Layers):
    """While training on one thread, a batch norm and the activation behind it are one; convolutions may be in bfloat16
    (kernels.low_precision), whose results such a batch norm takes as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if low_precision.applies(layer, x):
                x = low_precision.convolution(layer, x)
                if not (layers and batch_norm_applies(layers[0], x)):
                    x = x.float()
            elif batch_norm_applies(layer, x):
                x = batch_norm(x, layer, layers.pop(0) if layers and activation_code(layers[0]) else None)
            else:
                x = layer(x)
        return x


def batch_norm_applies(norm: nn.Module, x: Tensor) -> TypeGuard[nn.BatchNorm2d]:
    """Whether `batch_norm` can take the place of `norm` for `x` [N, C, H, W]."""
    if not isinstance(norm, nn.BatchNorm2d):
        return False
    moving = norm.affine and norm.track_running_stats and norm.momentum is not None
    return norm.training and moving and x.numel() > x.shape[1] and trainable(x, torch.float32, torch.bfloat16)


def activation_code(layer: nn.Module) -> int:
    """What the loops call an activation, 0 for one that they do not have."""
    return _CODES.get(type(layer), 0)


def batch_norm(x: Tensor, norm: nn.BatchNorm2d, activation: nn.Module | None) -> Tensor:
    """`norm`, which is in training mode, and an activation that has a code, if any, on `x` [N, C, H, W]."""
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    slopes = activation.weight.expand(x.shape[1]) if isinstance(activation, nn.PReLU) else None
    code = activation_code(activation) if activation else 0
    return _BatchNorm.apply(x, norm, code, norm.weight, norm.bias, slopes)


@cache
def _loops() -> ModuleType:
    """Imported when first needed: compiling the loops takes seconds in the first process that does it."""
    from evaluators.training.kernels.loops import batch_norm

    return batch_norm


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: nn.BatchNorm2d, code: int, *learnt: Tensor | None) -> Tensor:
        """`learnt` is the norm's weight and bias, and the slopes [C] of PReLU."""
        loops, (weight, bias, slopes) = _loops(), learnt
        y, ctx.rows, ctx.kept = torch.empty_like(x, dtype=torch.float32), rows(x), np.empty((4, x.shape[1]), np.float32)
        ctx.act = loops.Act(code, np.zeros_like(ctx.kept[0]) if slopes is None else slopes.detach().numpy().copy())
        arrays = [
            tensor.detach().numpy() for tensor in (weight, bias, norm.running_mean, norm.running_var) if tensor is not None
        ]
        loops.batch_norm(ctx.rows, loops.Norm(*arrays, float(norm.momentum or 0), float(norm.eps)), ctx.act, rows(y), ctx.kept)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors  # which sees to it that nobody has overwritten the rows
        dx, learnt = torch.empty_like(x), np.empty((3, x.shape[1]), np.float32)
        gradients = _loops().Gradients(rows(dx), *learnt)
        _loops().batch_norm_gradient(ctx.rows, rows(channels_last(dy)), ctx.kept, ctx.act, gradients)
        dweight, dbias, dslopes = map(torch.from_numpy, learnt)
        return dx, None, None, dweight, dbias, dslopes if ctx.needs_input_grad[5] else None
