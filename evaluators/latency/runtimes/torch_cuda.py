"""PyTorch eager mode on a CUDA GPU: batch 1, float32, timed by CUDA events; not yet tested on a GPU."""

from collections.abc import Callable
from pathlib import Path

from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.torch_eager import DTYPE, SUFFIX, prepare, read_network
from evaluators.latency.runtimes.torch_eager import version as torch_version
from search_spaces.errors import InputError

__all__ = ["CLOCK", "DTYPE", "GRAPH", "SUFFIX", "load", "prepare", "processor", "version"]

CLOCK: Clock = "event"
GRAPH: Graph = "eager"


def version() -> str:
    """The versions of torch and of its CUDA; raises InputError when there is no GPU."""
    import torch

    require_cuda("torch_cuda")
    return f"{torch_version()} cuda {torch.version.cuda}"


def processor() -> str:
    """The GPU's name."""
    import torch

    return str(torch.cuda.get_device_name())


def require_cuda(runtime: str) -> None:
    """Raises InputError when torch finds no CUDA GPU."""
    import torch

    if not torch.cuda.is_available():
        raise InputError(f"the runtime {runtime} needs a CUDA GPU, and torch finds none on this machine")


def load(path: Path, threads: int = 1) -> Callable[[], float]:
    """A function that runs the network once on a fixed image and returns the seconds between two CUDA events.

    `threads` are host threads, which only launch kernels; the value is ignored.
    """
    import torch

    require_cuda("torch_cuda")
    network, image = read_network(path)
    network, image = network.cuda(), image.cuda()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    @torch.inference_mode()
    def run() -> float:
        start.record()
        network(image)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    return run
