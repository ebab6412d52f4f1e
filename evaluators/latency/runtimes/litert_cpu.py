"""LiteRT (TensorFlow Lite) on the CPU with its XNNPACK delegate: batch 1, float32."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.task import Task

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
DTYPE = "float32"
SUFFIX = ".tflite"


def version() -> str:
    """The version of ai-edge-litert; raises InputError when it, or its converter litert-torch, is not installed."""
    found = [installed_version(package, "the runtime litert_cpu", "litert") for package in ("ai-edge-litert", "litert-torch")]
    return found[0]


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes the file that `load` reads; raises InputError when the converter fails."""
    version()
    from evaluators.onnx import deployable, quiet
    from search_spaces.network import example_input

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # silences the C++ code, which logs the FLOPs of each network
    with quiet():
        import litert_torch

        try:
            litert_torch.convert(deployable(network), (example_input(task),)).export(str(path))
        except Exception as error:  # the converter may raise anything
            raise InputError(f"litert-torch cannot convert the network: {type(error).__name__}: {error}") from error


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    version()
    from evaluators.latency.timing.bench import load as loaded

    return loaded(path, threads)
