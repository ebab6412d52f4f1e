"""ONNX Runtime on the CPU: batch 1, quantised to int8, all graph optimisations."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.onnxruntime_cpu import SUFFIX, load, version

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

__all__ = ["CLOCK", "DTYPE", "GRAPH", "SUFFIX", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "quantised"
DTYPE = "int8"


def prepare(network: "nn.Module", task: "Task", path: Path, images: "Tensor | None" = None) -> None:
    """Writes the file that `load` reads; ranges are from `images`, or for timing alone from two random ones."""
    from evaluators.quantise import export_int8
    from search_spaces.network import example_input

    export_int8(network, task, path, example_input(task, batch=2) if images is None else images)
