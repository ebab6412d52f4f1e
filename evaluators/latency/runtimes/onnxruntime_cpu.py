"""ONNX Runtime on the CPU: batch 1, float32, all graph optimisations."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.latency.runtime import Clock, Graph

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import nn

    from evaluators.latency.kernels.onnxruntime_profile import KernelTime
    from search_spaces.task import Task

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
DTYPE = "float32"
INT8 = "onnxruntime_int8"
SUFFIX = ".onnx"


def version() -> str:
    """The version of onnxruntime; a profile is valid for this version only."""
    return metadata.version("onnxruntime")


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes the file that `load` reads."""
    from evaluators.onnx import export_onnx

    export_onnx(network, task, path)


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    from evaluators.latency.timing.bench import load as loaded

    return loaded(path, threads)


def answers(path: Path, threads: int = 1) -> "Callable[[ndarray], ndarray]":
    """A function from an image [1, C, H, W] to logits [1, classes], which any number of threads may call at the same time."""
    from evaluators.latency.timing.bench import open_session

    session = open_session(path, 1)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def kernel_times(path: Path, runs: int = 36, threads: int = 1) -> "list[KernelTime]":
    """The network's kernels and their times, as ONNX Runtime's profiler reports them."""
    from evaluators.latency.kernels.onnxruntime_profile import kernel_times as profiled

    return profiled(path, runs, threads)
