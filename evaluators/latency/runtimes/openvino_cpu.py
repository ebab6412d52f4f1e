"""OpenVINO on the CPU: batch 1, float32 throughout, one stream, read from the ONNX file."""

from collections.abc import Callable
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

from evaluators.installed import installed_version
from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.onnxruntime_cpu import DTYPE, SUFFIX, prepare
from evaluators.latency.timing.bench import example

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = ["CLOCK", "DTYPE", "GRAPH", "INT8", "SUFFIX", "answers", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
INT8 = "openvino_int8"


def version() -> str:
    """The version of openvino; raises InputError when it is not installed."""
    return installed_version("openvino", "the runtime openvino_cpu", "openvino")


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    model = _compiled(path, threads, 1)
    request = model.create_infer_request()
    image = example(list(model.input(0).shape))
    return lambda: request.infer([image], share_inputs=True)[0]


def answers(path: Path, threads: int = 1) -> "Callable[[ndarray], ndarray]":
    """A function from an image [1, C, H, W] to logits [1, classes], which `threads` threads may call at the same time."""
    model, own = _compiled(path, threads, threads), local()

    def answer(image: "ndarray") -> "ndarray":
        if not hasattr(own, "request"):
            own.request = model.create_infer_request()
        return own.request.infer([image], share_inputs=True)[0]  # type: ignore[no-any-return]

    return answer


def _compiled(path: Path, threads: int, streams: int) -> Any:
    """The network in OpenVINO, with this number of threads for all streams together, which run at the same time."""
    version()
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": str(streams),
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(str(path), "CPU", settings)
