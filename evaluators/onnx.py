"""ONNX export; the only module that calls torch's exporter.

Uses the TorchScript exporter (`dynamo=False`): 0.5 s for MobileNetV2, against 4.6 s for the newer one (torch 2.15, one
thread), and calibrating a device exports some seventy networks. After ONNX Runtime's optimisation, both files give the
same graph (52 fused convolutions), except for GlobalAveragePool (here) instead of ReduceMean; their latencies agree
within noise.
"""

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from evaluators.agreement import difference
from search_spaces.network import example_input
from search_spaces.ops.shift import fold_permutations
from search_spaces.task import Task

OPSET = 17
INPUT, OUTPUT = "image", "logits"


@dataclass(frozen=True)
class OnnxForm:
    """How an ONNX file is written: its opset, and images per run; None: any number."""

    opset: int = OPSET
    batch: int | None = 1


def export_onnx(network: nn.Module, task: Task, path: Path, form: OnnxForm = OnnxForm()) -> None:
    """Exports `network` in eval mode to an ONNX file: input "image" float32 [N, C, H, W], output "logits" [N, classes].

    N is the form's batch. `network` is not modified.
    """
    with quiet(), _one_thread(), torch.no_grad():
        torch.onnx.export(
            deployable(network),
            (example_input(task, form.batch or 2),),
            str(path),
            dynamo=False,
            opset_version=form.opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes=None if form.batch else {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )


@contextlib.contextmanager
def folded_onnx(network: nn.Module, task: Task) -> Iterator[Path]:
    """The network's ONNX file for a quantiser, while the context lasts.

    Shapes are inferred, constants computed and batch norms folded into convolutions; without, NNCF fails on some networks.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="nas-int8-") as folder:
        plain, folded = Path(folder, "plain.onnx"), Path(folder, "folded.onnx")
        export_onnx(network, task, plain)
        quant_pre_process(str(plain), str(folded), skip_symbolic_shape=True)
        yield folded


def describe(path: Path, facts: Mapping[str, str]) -> None:
    """Adds `facts` to the metadata of an ONNX file; runtimes show them (`get_modelmeta().custom_metadata_map`)."""
    import onnx

    more = onnx.ModelProto()
    for key, value in facts.items():
        more.metadata_props.add(key=key, value=value)
    with path.open("ab") as file:
        file.write(more.SerializeToString())  # a message's fields may be appended to it


def deployable(network: nn.Module) -> nn.Module:
    """A copy in eval mode, float32 on the CPU, with the channels of learnt shifts sorted by offset."""
    network = copy.deepcopy(network).cpu().float().eval()
    fold_permutations(network)
    return network


def trace(network: nn.Module, task: Task) -> torch.jit.ScriptModule:
    """The TorchScript trace of `deployable(network)`, for converters that need one."""
    with quiet(), _one_thread(), torch.no_grad():
        return torch.jit.trace(deployable(network), example_input(task), check_trace=False)  # type: ignore[no-any-return]


def onnx_difference(network: nn.Module, path: Path, task: Task, seed: int = 0) -> float:
    """The largest difference between the logits of torch and ONNX Runtime on one image, relative to the largest logit."""
    import onnxruntime

    image = example_input(task, seed=seed)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return difference(session.run([OUTPUT], {INPUT: image.numpy()})[0], network, image)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses warnings (the exporter's deprecation, the tracer's on constants), prints and log lines."""
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
    """Sets torch to one thread: under load, several threads wait for each other, and export takes 3 s instead of 0.5 s."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
