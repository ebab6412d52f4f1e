"""Export of a network to ONNX; the only file that knows torch's exporter.

The TorchScript exporter (`dynamo=False`) is used: 0.5 s for MobileNetV2 where the newer one takes 4.6 s (torch 2.15,
one thread), and calibrating a device exports some seventy networks. After ONNX Runtime's own optimisation both files
are the same graph (52 fused convolutions), but for GlobalAveragePool (here) against ReduceMean; their times agree
within noise.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from search_spaces.network import example_input
from search_spaces.ops.shift import fold_permutations
from search_spaces.task import Task

OPSET = 17
INPUT, OUTPUT = "image", "logits"


def export_onnx(network: nn.Module, task: Task, path: Path) -> None:
    """Writes `network` in eval mode as one ONNX file: input "image" float32 [1, C, H, W], output "logits" [1, classes].

    `network` is left as it was.
    """
    with quiet(), _one_thread(), torch.no_grad():
        torch.onnx.export(
            deployable(network),
            (example_input(task),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )


def deployable(network: nn.Module) -> nn.Module:
    """A copy in eval mode, float32 on the CPU, channels of learnt shifts sorted, so that each group moves in one piece."""
    network = copy.deepcopy(network).cpu().float().eval()
    fold_permutations(network)
    return network


def trace(network: nn.Module, task: Task) -> torch.jit.ScriptModule:
    """The TorchScript trace of `deployable(network)`, for converters that read it."""
    with quiet(), _one_thread(), torch.no_grad():
        return torch.jit.trace(deployable(network), example_input(task), check_trace=False)  # type: ignore[no-any-return]


def onnx_difference(network: nn.Module, path: Path, task: Task, seed: int = 0) -> float:
    """Largest difference of the logits between torch and ONNX Runtime on one image, relative to the largest logit."""
    import onnxruntime

    image = example_input(task, seed=seed)
    reference = copy.deepcopy(network).cpu().float().eval()
    with torch.no_grad():
        expected = reference(image)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    actual = torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings (the exporter's deprecation, the tracer's about constants), no prints, no log lines."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """The exporter runs the network once: on a busy machine several threads wait for each other, 3 s instead of 0.5."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
