"""ONNX, for ONNX Runtime and most other runtimes: input `image`, output `logits`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluators.onnx import OnnxForm
    from search_spaces.network import Network
    from search_spaces.task import Task

FILE = "model.onnx"


def write(network: "Network", task: "Task", path: Path, form: "OnnxForm | None" = None) -> None:
    from evaluators.onnx import OnnxForm, export_onnx

    export_onnx(network, task, path, form or OnnxForm())
