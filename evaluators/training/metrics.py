"""Metrics: top-1 accuracy, balanced accuracy and macro F1, from one confusion matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evaluators.training.batches import Batches
from evaluators.training.lean import at_once, folded


@dataclass(frozen=True)
class Scores:
    """Top-1 accuracy, mean recall over classes, and mean F1 over classes, each in 0..1.

    As in scikit-learn, `balanced_accuracy` ignores classes without images; `macro_f1` ignores classes with neither images nor
    predictions.
    """

    top1: float
    balanced_accuracy: float
    macro_f1: float


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """The confusion matrix, int64 [classes, classes]: entry (i, j) counts images of class i predicted as class j."""
    return (labels * classes + predicted).bincount(minlength=classes**2).view(classes, classes)


def scores(counts: Tensor) -> Scores:
    """The scores of a confusion matrix [classes, classes], rows being true classes, with at least one image."""
    counts = counts.double()
    right, there, taken = counts.diagonal(), counts.sum(1), counts.sum(0)
    recall = (right / there)[there > 0]
    f1 = (2 * right / (there + taken))[there + taken > 0]
    return Scores(float(right.sum() / counts.sum()), float(recall.mean()), float(f1.mean()))


def evaluate(network: nn.Module, split: Batches, *, among: Tensor | None = None, batch_size: int | None = None) -> Scores:
    """Scores of a network in eval mode, in one pass over a split or its images at indices `among`."""
    network, device = folded(network), split.labels.device
    labels, predicted = [], []
    with torch.no_grad():
        for images, of in split.in_order(batch_size or at_once(split.preprocessing.input, device), among):
            logits = network(images)
            labels.append(of)
            predicted.append(logits.argmax(1))
    return scores(confusion(torch.cat(labels), torch.cat(predicted), logits.shape[1]))
