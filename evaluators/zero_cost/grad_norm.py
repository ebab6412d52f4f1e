"""grad_norm: the gradient norm of an untrained network's weights."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from evaluators.zero_cost._networks import for_batch, weights
from search_spaces.network import Network


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """The sum over convolutions and linear layers of the L2 norm of the weights' gradient; arXiv:2101.08134.

    Cross-entropy loss, batch norm with batch statistics, no dropout. Deterministic.
    """
    copied = for_batch(network)
    copied.zero_grad()
    cross_entropy(copied(images), labels).backward()  # type: ignore[no-untyped-call]
    return sum(float(weight.grad.norm()) for weight in weights(copied) if weight.grad is not None)
