"""LiteRT (TensorFlow Lite) on the CPU with its XNNPACK delegate: batch 1, quantised to int8 by LiteRT Quantizer."""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes import litert_cpu
from evaluators.latency.runtimes.litert_cpu import SUFFIX, answers, load
from evaluators.quantisers import litert

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_spaces.task import Task

__all__ = ["CLOCK", "DTYPE", "GRAPH", "QUANTISER", "SUFFIX", "answers", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "quantised"
DTYPE = "int8"
QUANTISER = "litert"


def version() -> str:
    """The version of ai-edge-litert; raises InputError when it, its converter or its quantiser is not installed."""
    litert.version()
    return litert_cpu.version()


def prepare(network: "nn.Module", task: "Task", path: Path, images: "Tensor | None" = None) -> None:
    """Writes the file that `load` reads; ranges are from `images`, or for timing alone from two random ones."""
    from evaluators.quantise import export_int8

    export_int8(network, task, path, images, QUANTISER)
