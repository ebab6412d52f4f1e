"""naswot: how well an untrained network's activation patterns separate images."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.zero_cost._networks import for_batch
from search_spaces.network import Network

# Activation functions by aten name, shared by modules and functionals; ReLU6 is a hardtanh.
_ACTIVATIONS = frozenset(
    ["relu", "hardtanh", "leaky_relu", "_prelu_kernel", "hardswish", "silu", "sigmoid", "hardsigmoid", "tanh"]
)


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """log det K, where K[i, j] counts the units with the same state, on or off, for images i and j; arXiv:2006.04647.

    -inf if K is singular, as for identical images. A unit is an input element of an activation function, on if positive: the
    paper's rule for ReLU, applied to all other activations too, including those of gates. Batch norm uses batch statistics,
    no dropout. Labels are not used. Deterministic.
    """
    with torch.no_grad(), _Codes(len(images)) as codes:
        for_batch(network)(images)
    sign, logarithm = torch.linalg.slogdet(codes.kernel)
    return float(logarithm) if sign > 0 else -math.inf


class _Codes(TorchDispatchMode):
    """Accumulates the kernel [B, B] over the inputs of all activation functions within the context."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.kernel = torch.zeros(images, images, dtype=torch.float64)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__.removesuffix("_") in _ACTIVATIONS:
            self._add(args[0])
        return func(*args, **(kwargs or {}))

    def _add(self, x: Tensor) -> None:
        """Adds the number of agreeing units, (all + sum of products of signs) / 2; exact in float32 below 2^24."""
        signs = (x > 0).flatten(1).float().mul_(2).sub_(1)
        self.kernel += ((signs @ signs.T + signs.shape[1]) / 2).to(self.kernel)
