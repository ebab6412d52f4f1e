"""naswot: how differently an untrained network's units switch on and off for different images."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.zero_cost._networks import for_batch
from search_spaces.network import Network

# Activation functions by aten's names, which modules and functionals have in common; ReLU6 is a hardtanh.
_ACTIVATIONS = frozenset(
    ["relu", "hardtanh", "leaky_relu", "_prelu_kernel", "hardswish", "silu", "sigmoid", "hardsigmoid", "tanh"]
)


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """log det K, where K[i, j] counts the units that are both on or both off for images i and j; arXiv:2006.04647.

    -inf if K is singular, as it is for equal images. A unit is an element that an activation function is given, on where
    it is positive: the paper's rule for ReLU, and the same threshold for all others, those of gates included. Batch norm
    uses the batch's statistics, dropout is off. Labels are not used, nothing is random.
    """
    with torch.no_grad(), _Codes(len(images)) as codes:
        for_batch(network)(images)
    sign, logarithm = torch.linalg.slogdet(codes.kernel)
    return float(logarithm) if sign > 0 else -math.inf


class _Codes(TorchDispatchMode):
    """Adds up the kernel [B, B] of whatever activation functions see while this is entered."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.kernel = torch.zeros(images, images, dtype=torch.float64)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__.removesuffix("_") in _ACTIVATIONS:
            self._add(args[0])
        return func(*args, **(kwargs or {}))

    def _add(self, x: Tensor) -> None:
        """Units that agree are (all + sum of products of signs) / 2: whole numbers, exact in float32 below 2^24."""
        signs = (x > 0).flatten(1).float().mul_(2).sub_(1)
        self.kernel += ((signs @ signs.T + signs.shape[1]) / 2).to(self.kernel)
