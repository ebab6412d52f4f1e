"""Exponential moving average (EMA) of weights over training steps; the averaged weights are evaluated and kept."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """The EMA of a network; call `update_parameters(network)` after each step.

    Batch norm statistics are averaged too. The decay warms up as (1 + n) / (10 + n) after n steps, so that early weights do
    not dominate a short training.
    """
    return AveragedModel(network, multi_avg_fn=_mean(decay), use_buffers=True)


def _mean(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """EMA of floating-point tensors; copies integers (counts, channel indices), which torch's own rule would average."""

    @torch.no_grad()
    def update(kept: Any, current: Any, count: Tensor | int) -> None:
        if torch.is_floating_point(kept[0]):
            now = min(decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(kept, current, 1 - now)
        else:
            for old, new in zip(kept, current, strict=True):
                old.copy_(new)

    return update
