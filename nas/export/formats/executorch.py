"""ExecuTorch, for phones and boards: model.pte, a program for its XNNPACK backend, in float32; input and output by position."""

from evaluators.latency.runtimes.executorch_xnnpack import prepare as write

__all__ = ["FILE", "RUNTIME", "USE", "write"]

FILE, RUNTIME = "model.pte", "executorch_xnnpack"
USE = """import torch
from executorch.runtime import Runtime
method = Runtime.get().load_program("model.pte").load_method("forward")
logits = method.execute([torch.from_numpy(image)])[0]"""
