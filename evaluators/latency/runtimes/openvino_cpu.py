"""OpenVINO on the CPU: batch 1, float32 throughout, one stream, read from the ONNX file."""

from collections.abc import Callable
from pathlib import Path

from evaluators.latency.runtime import Clock, Graph, installed_version
from evaluators.latency.runtimes.onnxruntime_cpu import DTYPE, SUFFIX, prepare
from evaluators.latency.timing.bench import example

__all__ = ["CLOCK", "DTYPE", "GRAPH", "SUFFIX", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "fused"
INT8 = "openvino_int8"


def version() -> str:
    """The version of openvino; raises InputError when it is not installed."""
    return installed_version("openvino", "the runtime openvino_cpu", "openvino")


def load(path: Path, threads: int = 1) -> Callable[[], object]:
    """A function that runs the network once on a fixed image; with one thread, in the calling thread."""
    version()
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    request = model.create_infer_request()
    image = example(list(model.input(0).shape))
    return lambda: request.infer([image], share_inputs=True)[0]
