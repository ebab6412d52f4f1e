"""OpenVINO on the CPU: batch 1, one stream, read from the ONNX file that is quantised to int8."""

from evaluators.latency.runtime import Clock, Graph
from evaluators.latency.runtimes.onnxruntime_int8 import DTYPE, prepare
from evaluators.latency.runtimes.openvino_cpu import SUFFIX, load, version

__all__ = ["CLOCK", "DTYPE", "GRAPH", "SUFFIX", "load", "prepare", "version"]

CLOCK: Clock = "cpu"
GRAPH: Graph = "quantised"
