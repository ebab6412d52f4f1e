"""synflow: synaptic flow through an untrained network's absolute weights, from input to output."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from evaluators.zero_cost._networks import weights
from search_spaces.network import Network
from search_spaces.ops.learnt_shift import LearntShift
from search_spaces.ops.squeeze_excite import SqueezeExcite

# Layers that are nonlinear, or saturate for large positive inputs; without them, the output is linear in each layer's weights.
_PASSED = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Hardswish,
    nn.SiLU,
    nn.Sigmoid,
    nn.Hardsigmoid,
    nn.LocalResponseNorm,
    SqueezeExcite,
)


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """The log of the sum over weights of |w dR/dw|, R being the sum of outputs for an image of ones; arXiv:2006.05467.

    Weights are replaced by their absolute values, activations and squeeze-and-excitation by identities; batch norm is in eval
    mode with its initial statistics. Uses float64, whose range of 10^308 suffices for some 200 layers. Uses only the shape of
    the images. Deterministic.
    """
    flow = _linear(network)
    ones = torch.ones(1, *images.shape[1:], dtype=torch.float64, device=images.device)
    flow(ones).sum().backward()
    total = sum(float((weight.detach() * weight.grad).abs().sum()) for weight in weights(flow) if weight.grad is not None)
    return math.log(total) if total > 0 else -math.inf


def _linear(network: Network) -> Network:
    copied = deepcopy(network).double().eval()
    copied.zero_grad()
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, _PASSED):
                setattr(module, name, nn.Identity())
    for module in copied.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        if not isinstance(module, LearntShift):  # the offsets of shifts keep their sign
            for parameter in module.parameters(recurse=False):
                parameter.data.abs_()
    return copied
