"""LiteRT (TensorFlow Lite), for phones and boards: model.tflite, in float32; images in torch's order, [1, C, H, W]."""

from evaluators.latency.runtimes.litert_cpu import prepare as write
from evaluators.quantisers.litert import SIGNATURE

__all__ = ["FILE", "RUNTIME", "SIGNATURE", "USE", "write"]

FILE, RUNTIME = "model.tflite", "litert_cpu"
USE = """from ai_edge_litert.interpreter import Interpreter
run = Interpreter("model.tflite").get_signature_runner()
logits = run(args_0=image)["output_0"]"""
