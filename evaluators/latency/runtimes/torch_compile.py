"""torch.compile with Inductor's C++ backend on the CPU: batch 1, float32, weights frozen, batch norm folded."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from evaluators.heap import keep_heap
from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.torch_eager import DTYPE, SUFFIX, prepare, read_network, with_threads
from evaluators.latency.runtimes.torch_eager import version as torch_version
from search_spaces.errors import InputError

__all__ = ["CLOCK", "DTYPE", "GRAPH", "SUFFIX", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"


def version() -> str:
    """The version of torch; raises InputError when no C++ compiler is found, which Inductor needs."""
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers if name):
        raise InputError("the runtime torch_compile needs a C++ compiler, and none was found: install g++, or set CXX")
    return torch_version()


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; compilation takes up to a minute."""
    import torch

    keep_heap()
    network, image = read_network(path)

    def forward(x: torch.Tensor) -> object:
        return network(x)

    options: dict[str, Any] = {"freezing": True, "cpp.threads": threads, "compile_threads": 1}
    compiled = torch.compile(_fresh(forward), dynamic=False, options=options)
    run = with_threads(torch.no_grad()(lambda: compiled(image)), threads)
    run()
    return run


def _fresh(function: Callable[..., object]) -> Callable[..., object]:
    """A copy of the function with its own code object: Dynamo caches by code object, at most 8 compilations each."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__, function.__name__, None, function.__closure__)
