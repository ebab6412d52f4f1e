"""ONNX, for ONNX Runtime and most other runtimes: input `image`, output `logits`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.task import Task

FILE = "model.onnx"


def write(network: "Network", task: "Task", path: Path) -> None:
    from evaluators.onnx import export_onnx

    export_onnx(network, task, path)
