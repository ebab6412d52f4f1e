"""OpenVINO on the CPU: batch 1, one stream, read from the ONNX file that NNCF quantised to int8."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes import openvino_cpu
from evaluators.latency.runtimes.openvino_cpu import SUFFIX, answers, load
from evaluators.quantisers import nncf

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

__all__ = ["CLOCK", "DTYPE", "GRAPH", "QUANTISER", "SUFFIX", "answers", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "quantised"
DTYPE = "int8"
QUANTISER = "nncf"


def version() -> str:
    """The versions of openvino and nncf; raises InputError when one is not installed."""
    return f"{openvino_cpu.version()}, nncf {nncf.version()}"


def prepare(network: "nn.Module", task: "Task", path: Path, images: "Tensor | None" = None) -> None:
    """Writes the file that `load` reads; ranges are from `images`, or for timing alone from two random ones."""
    from evaluators.quantise import export_int8

    export_int8(network, task, path, images, QUANTISER)
