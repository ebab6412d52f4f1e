"""synflow: how much the weights of an untrained network carry from its input to its output, signs left out."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from evaluators.zero_cost._networks import weights
from search_spaces.network import Network
from search_spaces.ops.learnt_shift import LearntShift
from search_spaces.ops.squeeze_excite import SqueezeExcite

# What is not linear, or would not be for large positive input; without it the output is linear in each layer's weights.
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
    """log of the sum over weights of |w dR/dw|, R the network's summed output for an image of ones; arXiv:2006.05467.

    All weights are taken positive, activations and squeeze-and-excitation pass their input on, batch norm is in eval mode
    with its initial statistics. In float64, whose range of 10^308 is enough for some 200 layers. Of the images only the
    shape is used; nothing is random.
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
        if not isinstance(module, LearntShift):  # where its channels read has a sign
            for parameter in module.parameters(recurse=False):
                parameter.data.abs_()
    return copied
