"""Helpers for scores: copies of networks, and their weights."""

from collections.abc import Iterator
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from evaluators.training.kernels.fast import fast

Module = TypeVar("Module", bound=nn.Module)


def for_batch(network: Module) -> Module:
    """A copy in training mode, so that batch norm uses batch statistics, but without dropout."""
    copied = fast(deepcopy(network)).train()
    copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in copied.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return copied


def weights(network: nn.Module) -> Iterator[Tensor]:
    """The weights of convolutions and linear layers, without biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield module.weight
