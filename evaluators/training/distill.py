"""Knowledge distillation: a trained network teaches another one."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.training.weights import GENOTYPE, WEIGHTS, load_network
from search_spaces.genotype import read_genotype
from search_spaces.task import Task

# The paper finds 2.5 to 4 best for small students, and the labels' part best at a "considerably lower weight".
TEMPERATURE = 4.0
LABELS = 0.1


def load_teacher(folder: Path, task: Task, device: torch.device) -> nn.Module:
    """The network in a folder with genotype.txt and weights.safetensors, in eval mode; raises InputError if damaged."""
    network = load_network(read_genotype(folder / GENOTYPE), task, folder / WEIGHTS)
    return network.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload, no-any-return]


def distilled(logits: Tensor, teacher: Tensor, labels_loss: Tensor) -> Tensor:
    """The loss that mixes that of the labels with the divergence from a teacher's softened answer; logits [B, classes].

    Kullback-Leibler divergence at `TEMPERATURE`, times its square so that gradients keep their size; the labels' loss has
    the share `LABELS`. Hinton, Vinyals and Dean 2015, arXiv:1503.02531.
    """
    soft = F.log_softmax(logits / TEMPERATURE, 1)
    target = F.log_softmax(teacher / TEMPERATURE, 1)
    divergence = F.kl_div(soft, target, reduction="batchmean", log_target=True)
    return LABELS * labels_loss + (1 - LABELS) * TEMPERATURE**2 * divergence
