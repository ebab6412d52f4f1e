"""ONNX Runtime on the CPU: batch 1, quantised to int8, all graph optimisations."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.onnxruntime_cpu import SUFFIX, answers, load, version

if TYPE_CHECKING:
    from torch import Tensor, nn

    from evaluators.latency.kernels.onnxruntime_profile import KernelTime
    from search_spaces.task import Task

__all__ = ["CLOCK", "DTYPE", "GRAPH", "QUANTISER", "SUFFIX", "answers", "kernel_times", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "quantised"
DTYPE = "int8"
QUANTISER = "onnxruntime"


def prepare(network: "nn.Module", task: "Task", path: Path, images: "Tensor | None" = None) -> None:
    """Writes the file that `load` reads; ranges are from `images`, or for timing alone from two random ones."""
    from evaluators.quantise import export_int8

    export_int8(network, task, path, images, QUANTISER)


def kernel_times(path: Path, runs: int = 36, threads: int = 1) -> "list[KernelTime]":
    """The network's kernels and their times, as ONNX Runtime's profiler reports them."""
    from evaluators.latency.kernels.int8_profile import kernel_times as profiled

    return profiled(path, runs, threads)
