"""A donor of any genotype with made-up weights, whose batch norms have seen images."""

import torch

from evaluators.inheritance.donor import Donor
from search_spaces.genotype import Genotype
from search_spaces.network import Network, build
from search_spaces.task import Task


def made_up_donor(genotype: Genotype, seed: int = 0, classes: int = 5, channels: int = 3, norm_eps: float = 1e-3) -> Donor:
    """Random weights, scales of both signs about 1, shifts about 0.5, and the statistics of a batch of noise."""
    task = Task((channels, 64, 64), classes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(genotype, task).train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum, module.eps = None, norm_eps
                torch.nn.init.normal_(module.weight, 1.0, 0.3)
                torch.nn.init.normal_(module.bias, 0.5, 0.5)
        with torch.no_grad():
            network(torch.randn(8, *task.input))
    tensors = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    return Donor("made up", genotype, task, tensors, (0.5,) * channels, (0.25,) * channels, "bilinear", norm_eps, "noise")


def features(network: Network, images: torch.Tensor) -> torch.Tensor:
    """What the classifier of a network in eval mode reads [N, features]."""
    seen: list[torch.Tensor] = []
    layer = [m for m in network.blocks[-1].modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)][-1]
    handle = layer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.eval()(images)
    handle.remove()
    return seen[0].flatten(1)
