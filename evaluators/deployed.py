"""Accuracy of the file that is deployed: images through its ONNX, one by one, as many at once as there are processors."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluators.latency.bench import session_options
from evaluators.onnx import INPUT, OUTPUT, export_onnx
from evaluators.processors import processors
from evaluators.training.batches import Pictures
from evaluators.training.metrics import Scores, confusion, scores
from search_spaces.task import Task

_READ = 64  # images brought to the input at once


def deployed_scores(network: nn.Module, task: Task, pictures: Pictures) -> Scores:
    """Scores over a split of what `export_onnx` writes of a network, by ONNX Runtime in float32."""
    from onnxruntime import InferenceSession

    with tempfile.TemporaryDirectory(prefix="nas-test-") as folder:
        file = Path(folder, "model.onnx")
        export_onnx(network, task, file)
        session = InferenceSession(str(file), session_options(1), providers=["CPUExecutionProvider"])

    def answer(image: Tensor) -> int:
        return int(session.run([OUTPUT], {INPUT: image[None].contiguous().numpy()})[0].argmax())

    with ThreadPoolExecutor(processors()) as pool:
        found = (list(pool.map(answer, images.cpu())) for images, _ in pictures.in_order(_READ))
        predicted = torch.tensor(list(chain.from_iterable(found)))
    return scores(confusion(pictures.labels.cpu(), predicted, task.classes))
