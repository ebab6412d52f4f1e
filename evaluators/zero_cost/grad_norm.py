"""grad_norm: how large the gradient of an untrained network's weights is."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from evaluators.zero_cost._networks import for_batch, weights
from search_spaces.network import Network


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """The Euclidean norms of the gradients of each convolution's and linear layer's weights, summed; arXiv:2101.08134.

    The loss is the cross-entropy of the batch, batch norm uses the batch's statistics, dropout is off. Nothing is random.
    """
    copied = for_batch(network)
    copied.zero_grad()
    cross_entropy(copied(images), labels).backward()  # type: ignore[no-untyped-call]
    return sum(float(weight.grad.norm()) for weight in weights(copied) if weight.grad is not None)
