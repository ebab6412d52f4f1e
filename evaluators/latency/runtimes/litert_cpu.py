"""LiteRT (TensorFlow Lite) on the CPU with its XNNPACK delegate: batch 1, float32."""

from collections.abc import Callable
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING

from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import nn

    from search_spaces.task import Task

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
DTYPE = "float32"
INT8 = "litert_int8"
SUFFIX = ".tflite"


def version() -> str:
    """The version of ai-edge-litert; raises InputError when it, or its converter litert-torch, is not installed."""
    found = [installed_version(package, "the runtime litert_cpu", "litert") for package in ("ai-edge-litert", "litert-torch")]
    return found[0]


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes the file that `load` reads; raises InputError when the converter fails."""
    version()
    from evaluators.tflite import export_tflite

    export_tflite(network, task, path)


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    version()
    from evaluators.latency.timing.bench import load as loaded

    return loaded(path, threads)


def answers(path: Path, threads: int = 1) -> "Callable[[ndarray], ndarray]":
    """A function from an image [1, C, H, W] to logits [1, classes], which `threads` threads may call at the same time."""
    version()
    from ai_edge_litert.interpreter import Interpreter

    from evaluators.tflite import silent

    content, own = path.read_bytes(), local()
    with silent():  # the first interpreter of a process writes a line
        Interpreter(model_content=content, num_threads=1)

    def answer(image: "ndarray") -> "ndarray":
        if not hasattr(own, "run"):
            own.run = Interpreter(model_content=content, num_threads=1).get_signature_runner()
        (logits,) = own.run(args_0=image).values()
        return logits  # type: ignore[no-any-return]

    return answer
