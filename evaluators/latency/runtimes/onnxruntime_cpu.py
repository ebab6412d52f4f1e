"""ONNX Runtime on the CPU: one thread, batch 1, float32, all graph optimisations."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.task import Task

THREADS = 1
DTYPE = "float32"
SUFFIX = ".onnx"


def version() -> str:
    """The runtime's version; a profile holds for this one only."""
    return metadata.version("onnxruntime")


def prepare(network: "nn.Module", task: "Task", path: Path) -> None:
    """Writes the file that `load` reads."""
    from evaluators.onnx import export_onnx

    export_onnx(network, task, path)


def load(path: Path) -> Callable[[], object]:
    """A function that runs the network once on a fixed picture, synchronously in the calling thread."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal(source.shape, np.float32)
    return lambda: session.run(None, {source.name: image})
