"""Feature maps [N, C, H, W] in channels_last, and as arrays on the same memory."""

import numpy as np
import torch
from torch import Tensor


def trainable(x: Tensor) -> bool:
    """Whether the loop supports the map (float32, channels_last, one thread of a CPU) and gradients are on."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.get_num_threads() == 1
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def pixels(x: Tensor) -> np.ndarray:
    """The map as an array [N, H, W, C]."""
    return x.detach().numpy().transpose(0, 2, 3, 1)
