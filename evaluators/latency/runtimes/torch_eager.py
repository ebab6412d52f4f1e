"""PyTorch eager mode on the CPU: batch 1, float32; batch norm is not folded.

Freed heap memory is kept (evaluators.heap), as with MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_MMAP_MAX_=0.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.heap import keep_heap
from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.timing.bench import example

if TYPE_CHECKING:
    from torch import Tensor, nn

    from evaluators.latency.kernels.onnxruntime_profile import KernelTime
    from search_spaces.network import Network
    from search_spaces.task import Task

CLOCK: Clock = "cpu"
GRAPH: Graph = "eager"
DTYPE = "float32"
SUFFIX = ".safetensors"


def version() -> str:
    """The version of torch."""
    return installed_version("torch", "the runtime torch_eager")


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes a network made by `build`: its weights, with genotype and task as text."""
    from safetensors.torch import save_file

    from search_spaces.network import Network

    assert isinstance(network, Network), "only a network from build() has a genotype"
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    about = {"genotype": network.genotype.text, "input": " ".join(map(str, task.input)), "classes": str(task.classes)}
    save_file(weights, path, about)


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    import torch

    keep_heap()
    network, image = read_network(path)
    with torch.inference_mode():
        image = image.clone()
    return with_threads(torch.inference_mode()(lambda: network(image)), threads)


def kernel_times(path: Path, runs: int = 16, threads: int = 1) -> "list[KernelTime]":
    """The network's operations and their times."""
    from evaluators.latency.kernels.torch_profile import kernel_times as profiled

    keep_heap()
    network, image = read_network(path)
    found: list[KernelTime] = []
    with_threads(lambda: found.extend(profiled(network, image, runs)), threads)()
    return found


def read_network(path: Path) -> "tuple[Network, Tensor]":
    """The network in a file from `prepare`, in eval mode with folded permutations, and the image to run it on."""
    import torch
    from safetensors import safe_open

    from search_spaces.genotype import Genotype
    from search_spaces.network import build
    from search_spaces.ops.shift import fold_permutations
    from search_spaces.task import Task

    with safe_open(path, "pt") as file:
        about, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    channels, height, width = map(int, about["input"].split())
    task = Task((channels, height, width), int(about["classes"]))
    with torch.random.fork_rng(devices=[]):
        network = build(Genotype.parse(about["genotype"]), task)
    network.load_state_dict(weights)
    fold_permutations(network.eval())
    return network, torch.from_numpy(example((1, *task.input)))


def with_threads(run: Callable[[], object], threads: int) -> Callable[[], object]:
    """`run` with torch's number of threads set while it runs."""
    import torch

    def run_once() -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return run()
        finally:
            torch.set_num_threads(before)

    return run_once
