"""Accuracy of the deployed file: runs images through a network's export, one per thread, in the runtime that it is for."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluators.latency.runtime import DEFAULT, answers_of
from evaluators.quantise import Quantisation, export_at
from evaluators.quantisers import load_quantiser
from evaluators.training.batches import Batches
from evaluators.training.metrics import Scores, confusion, scores
from search_spaces.task import Task

CALIBRATED_ON = 64
"""Training images that the ranges of a quantised network are taken from."""

_READ = 64  # images preprocessed per batch


def calibration_images(train: Batches) -> Tensor:
    """Images [N, C, H, W] to quantise a network on: about CALIBRATED_ON of the training set, stratified, always the same."""
    return train.few(min(CALIBRATED_ON, len(train)))[0].cpu()


@dataclass(frozen=True, eq=False)
class Deployed:
    """What a network's exported file, of `bytes`, answers to N images.

    `counts` is the confusion matrix, int64 [classes, classes]; `labels` and `predicted` are int64 [N], `confidence` is the
    probability of the predicted class, [N].
    """

    scores: Scores
    bytes: int
    counts: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor

    def worst(self, count: int) -> list[tuple[int, int, float]]:
        """The mistakes that it is surest of, at most `count`: (index of the image, predicted class, confidence)."""
        wrong = torch.nonzero(self.predicted != self.labels).flatten()
        order = wrong[self.confidence[wrong].argsort(descending=True, stable=True)][:count].tolist()
        return [(i, int(self.predicted[i]), float(self.confidence[i])) for i in order]


def deployed(
    network: nn.Module,
    task: Task,
    split: Batches,
    threads: int,
    among: Tensor | None = None,
    *,
    quantisation: Quantisation | None = None,
) -> Deployed:
    """Scores of a network's export over a split, or its images at indices `among`; `threads` run at the same time.

    Without `quantisation`, it is ONNX in float32, run by ONNX Runtime; with it, it is in int8, run by the quantiser's runtime.
    On CPUs, ONNX Runtime is also faster than torch: 8.9 ms per image for EfficientNet-Lite0 at 224x224, against 14.8 to 25 ms
    for torch in eval mode, depending on batch size (one thread of an AMD EPYC).
    """
    with tempfile.TemporaryDirectory(prefix="nas-judge-") as folder:
        quantiser = load_quantiser(quantisation.quantiser) if quantisation else None
        file = Path(folder, f"model{quantiser.SUFFIX if quantiser else '.onnx'}")
        export_at(network, task, file, quantisation)
        runtime = quantiser.RUNTIME if quantiser else DEFAULT
        logits_of, size = answers_of(runtime, file, threads), file.stat().st_size

    def answer(image: Tensor) -> tuple[int, float]:
        logits = torch.from_numpy(logits_of(image[None].contiguous().numpy())[0])
        best = int(logits.argmax())
        return best, float(logits.softmax(0)[best])

    def answers() -> Iterator[tuple[int, float]]:
        for images, _ in split.in_order(_READ, among):
            yield from pool.map(answer, images.cpu())

    with ThreadPoolExecutor(threads) as pool:
        classes, confidence = zip(*answers(), strict=True)
    labels, predicted = split.labels.cpu()[slice(None) if among is None else among], torch.tensor(classes)
    counts = confusion(labels, predicted, task.classes)
    return Deployed(scores(counts), size, counts, labels, predicted, torch.tensor(confidence))
