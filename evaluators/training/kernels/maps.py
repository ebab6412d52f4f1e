"""Maps [N, C, H, W] as the loops take them: on one thread of a CPU, in channels_last, as arrays on the same memory."""

import numpy as np
import torch
from torch import Tensor


def trainable(x: Tensor, *types: torch.dtype) -> bool:
    """Whether the loops can take a map of one of these types, and its gradient is wanted."""
    return torch.is_grad_enabled() and readable(x, *types)


def readable(x: Tensor, *types: torch.dtype) -> bool:
    """Whether the loops can take a map of one of these types."""
    return (
        x.device.type == "cpu"
        and x.dtype in types
        and torch.get_num_threads() == 1
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def pixels(x: Tensor) -> np.ndarray:
    """A map as [N, H, W, C]; bfloat16 as its bits."""
    numbers = x.detach().view(torch.uint16) if x.dtype == torch.bfloat16 else x.detach()
    return numbers.numpy().transpose(0, 2, 3, 1)


def rows(x: Tensor) -> np.ndarray:
    """A map as [N H W, C]."""
    return pixels(x).reshape(-1, x.shape[1], copy=False)


def numbers(x: Tensor) -> np.ndarray:
    """A map as [N H W C]."""
    return pixels(x).reshape(-1, copy=False)
