"""Mixed precision: the parts of training that run below float32, by device.

On CUDA: torch's autocast in bfloat16, or float16 if the GPU lacks it (not tested on a GPU). On CPUs with native bfloat16:
convolutions only (kernels.low_precision), as autocast, which also lowers batch norm and depthwise gradients, is slower than
float32 there (benchmarks/training.md). Forward passes without gradients use autocast.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from evaluators.training.kernels import low_precision


def lowered(device: torch.device, on: bool) -> AbstractContextManager[object]:
    """Runs forward passes in training mode in mixed precision, if `on` and if that is faster on the device."""
    if device.type == "cuda":
        return torch.autocast("cuda", _on_cuda(), enabled=on)
    return low_precision.bfloat16_convolutions() if on and low_precision.native() else nullcontext()


@contextmanager
def lowered_passes(device: torch.device, on: bool) -> Iterator[None]:
    """Runs convolutions and linear layers in bfloat16, without gradients, if `on` and the CPU supports it natively.

    Inputs, weights and results have 8 bits of precision: enough for the features that later blocks train on, not for
    evaluation. No effect on other CPUs and on GPUs.
    """
    lower = on and device.type == "cpu" and low_precision.native()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=lower):
        yield


def scaler(device: torch.device, on: bool) -> torch.amp.GradScaler:
    """The gradient scaler, enabled for float16 only."""
    return torch.amp.GradScaler(device.type, enabled=on and device.type == "cuda" and _on_cuda() == torch.float16)


def _on_cuda() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
