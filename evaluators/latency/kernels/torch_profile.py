"""What each operation of a network takes in torch, run eagerly on the CPU."""

import time
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.graph import traced_blocks
from evaluators.latency.kernels.eager import operations
from evaluators.latency.kernels.lowering import lowered_blocks
from evaluators.latency.kernels.onnxruntime_profile import KernelTime
from evaluators.latency.timing.bench import lowest
from search_spaces.network import Network
from search_spaces.task import Task

_WARM_UP = 2


class Dispatched(TorchDispatchMode):
    """Notes every operation that torch runs: its name as evaluators.graph writes it, the shape it writes, its milliseconds.

    By the calling thread's CPU time where it works alone, else by the clock on the wall.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[str, tuple[int, ...]]] = []
        self.ms: list[float] = []
        self._clock = time.thread_time_ns if torch.get_num_threads() == 1 else time.perf_counter_ns

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = self._clock()
        result = func(*args, **(kwargs or {}))
        self.ms.append((self._clock() - start) * 1e-6)
        first = result[0] if isinstance(result, (list, tuple)) else result
        shape = tuple(first.shape) if isinstance(first, Tensor) else ()
        self.names.append((func.overloadpacket.__name__.removesuffix("_"), shape))
        return result


@torch.no_grad()
def kernel_times(network: Network, image: Tensor, runs: int) -> list[KernelTime]:
    """The kernels that evaluators.latency.kernels.eager gives for a built network in eval mode, each timed over `runs` runs.

    Calling an operation from Python adds some microseconds to each. Operations on constants alone are left out. Nothing is
    told of a network that skips operations, as gates do.
    """
    seen = [_run(network, image) for _ in range(_WARM_UP + runs)][_WARM_UP:]
    channels, height, width = image.shape[1:]
    task = Task((channels, height, width), int(network(image).shape[1]))
    nodes = [node for _, graph in traced_blocks(network.genotype, task) for node in operations(graph)]
    kernels = [kernel for block in lowered_blocks(network.genotype, task, "eager") for kernel in block.kernels]
    places = located([(node["op"], node["shape"]) for node in nodes], seen[0].names)
    times = [lowest([run.ms[place] for run in seen]) for place in places]
    return [KernelTime(k.kind, k.size, ms) for k, ms in zip(kernels, times, strict=True)] if places else []


def located(wanted: list[tuple[str, tuple[int, ...]]], names: list[tuple[str, tuple[int, ...]]]) -> list[int]:
    """Where the operations `wanted` are among those that were run, in the same order; empty where one was not run."""
    places: list[int] = []
    for name in wanted:
        start = places[-1] + 1 if places else 0
        if name not in names[start:]:
            return []
        places.append(names.index(name, start))
    return places


def _run(network: Network, image: Tensor) -> Dispatched:
    with Dispatched() as seen:
        network(image)
    return seen
