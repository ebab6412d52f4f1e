"""Weights averaged over the steps of a training, exponentially; those are what is evaluated and kept."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of the network that `update_parameters(network)` moves towards it after each step.

    Running statistics of batch norm are averaged as the weights are. `decay` is reached slowly, by (1 + n) / (10 + n) after
    n steps, so that a short training is not held back by its beginning.
    """
    return AveragedModel(network, multi_avg_fn=_mean(decay), use_buffers=True)


def _mean(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """torch's own rule would average integers (counts, indices of channels) too, and round them down; these are copied."""

    @torch.no_grad()
    def update(kept: Any, current: Any, count: Tensor | int) -> None:
        if torch.is_floating_point(kept[0]):
            now = min(decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(kept, current, 1 - now)
        else:
            for old, new in zip(kept, current, strict=True):
                old.copy_(new)

    return update
