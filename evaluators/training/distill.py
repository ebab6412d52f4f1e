"""Knowledge distillation from a trained teacher network."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.weights import GENOTYPE, NORMALISATION, WEIGHTS, Moments, load_network
from search_spaces.genotype import read_genotype
from search_spaces.resources import read_text
from search_spaces.schema import Means, Stds, checked_json
from search_spaces.task import Task

# The paper finds temperatures of 2.5 to 4 best for small students, and a "considerably lower weight" on the labels' loss.
TEMPERATURE = 4.0
LABELS = 0.1


class Teacher(nn.Module):
    """A trained network that takes its student's images [B, C, H, W], adapted to its own input size and normalisation."""

    def __init__(
        self,
        network: nn.Module,
        size: tuple[int, int] | None,
        own: tuple[Sequence[float], Sequence[float]] | None,
        student: Moments,
    ) -> None:
        super().__init__()
        self.network, self._size = network, size
        (mean, std), (given_mean, given_std) = (map(torch.tensor, moments) for moments in (own or student, student))
        self.register_buffer("scale", (given_std / std).view(1, -1, 1, 1))
        self.register_buffer("shift", ((given_mean - mean) / std).view(1, -1, 1, 1))
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, images: Tensor) -> Tensor:
        images = images * self.scale + self.shift
        if self._size not in (None, tuple(images.shape[2:])):
            images = F.interpolate(images, self._size, mode="bilinear", antialias=True)
        return self.network(images)  # type: ignore[no-any-return]


def load_teacher(folder: Path, task: Task, device: torch.device, student: Moments) -> Teacher:
    """Loads the teacher, in eval mode, from a folder with genotype.txt and weights.safetensors.

    `student` is the mean and standard deviation per channel with which the student's images are normalised. Raises InputError
    when a file is damaged.
    """
    genotype = read_genotype(folder / GENOTYPE)
    network = load_network(genotype, task.of(genotype), folder / WEIGHTS)
    kept = folder / NORMALISATION
    own = checked_json(tuple[Means, Stds], read_text(kept, "file"), str(kept)) if kept.is_file() else None
    taught = Teacher(network, genotype.input[1:] if genotype.input else None, own, student).eval()
    return taught.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload, no-any-return]


def distilled(logits: Tensor, teacher: Tensor, labels_loss: Tensor) -> Tensor:
    """The distillation loss: the labels' loss mixed with the divergence from the teacher's soft targets; logits [B, classes].

    Kullback-Leibler divergence at `TEMPERATURE`, times its square to preserve the gradients' scale; the labels' loss has
    weight `LABELS`. Hinton, Vinyals and Dean 2015, arXiv:1503.02531.
    """
    soft = F.log_softmax(logits / TEMPERATURE, 1)
    target = F.log_softmax(teacher / TEMPERATURE, 1)
    divergence = F.kl_div(soft, target, reduction="batchmean", log_target=True)
    return LABELS * labels_loss + (1 - LABELS) * TEMPERATURE**2 * divergence
