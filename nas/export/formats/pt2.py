"""PyTorch exported program, for `torch.export.load` without this package."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.network import Network
    from search_spaces.task import Task

FILE = "model.pt2"
USE = """import torch
logits = torch.export.load("model.pt2").module()(torch.from_numpy(image)).detach()"""


def write(network: "Network", task: "Task", path: Path) -> None:
    import torch

    from evaluators.onnx import deployable, quiet
    from search_spaces.network import example_input

    with quiet(), torch.no_grad():
        torch.export.save(torch.export.export(deployable(network), (example_input(task),)), path)
