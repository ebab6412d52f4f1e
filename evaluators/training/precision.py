"""Mixed precision: which part of training is computed in less than float32, by device.

On CUDA what torch's autocast chooses, in bfloat16, or float16 where there is none (untested on a GPU). On a CPU whose processor
has instructions for bfloat16, convolutions (kernels.low_precision); autocast, which lowers batch norm and depthwise
gradients too, is slower there than float32 (benchmarks/training.md). It serves passes that take no gradients.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from evaluators.training.kernels import low_precision


def lowered(device: torch.device, on: bool) -> AbstractContextManager[object]:
    """Forward passes in training mode within it are in mixed precision, if `on` and where the device is faster so."""
    if device.type == "cuda":
        return torch.autocast("cuda", _on_cuda(), enabled=on)
    return low_precision.bfloat16_convolutions() if on and low_precision.native() else nullcontext()


@contextmanager
def lowered_passes(device: torch.device, on: bool) -> Iterator[None]:
    """Passes within it, without gradients, compute convolutions and linear layers in bfloat16, if `on` and native to the CPU.

    Inputs, weights and results are rounded to 8 bits of precision: enough for features that others are trained on, not for
    figures of a network. On other processors and on GPUs nothing changes.
    """
    lower = on and device.type == "cpu" and low_precision.native()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=lower):
        yield


def scaler(device: torch.device, on: bool) -> torch.amp.GradScaler:
    """Scales losses up where gradients would vanish in float16; else it changes nothing."""
    return torch.amp.GradScaler(device.type, enabled=on and device.type == "cuda" and _on_cuda() == torch.float16)


def _on_cuda() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
