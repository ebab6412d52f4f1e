"""zen: sensitivity of a randomly initialised network's features to small input perturbations."""

import torch
from torch import Tensor, nn

from evaluators.zero_cost._networks import for_batch
from search_spaces.network import Network, run_block

_ALPHA = 0.01


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """log E ||f(x) - f(x + .01 e)|| + sum over batch norms of log sqrt(mean variance of their input); arXiv:2102.01063.

    f is the network without its head; its weights, x and e are standard normal. Batch norm uses batch statistics, no dropout.
    Unlike in the paper, identities are kept. Uses only the shape of the images and, of the network's parameters, only slopes of
    activations and offsets of shifts.
    """
    features = for_batch(network)
    with torch.no_grad():
        _redraw(features, generator)
        x, e = (torch.randn(images.shape, generator=generator).to(images) for _ in range(2))
        still, scale = _run_with_scale(features, x)
        moved = _features(features, x + _ALPHA * e)
    return float((still - moved).flatten(1).norm(dim=1).mean().log() + scale)


def _redraw(network: Network, generator: torch.Generator) -> None:
    """Draws standard normal weights; resets batch norm's scale and shift to 1 and 0, and biases to 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator))
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.fill_(1)
        else:
            continue
        if module.bias is not None:
            module.bias.zero_()


def _run_with_scale(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """The features, and the log of the product of all batch norms' divisors."""
    scales: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        scales.append(inputs[0].double().var((0, 2, 3), correction=0).mean().log() / 2)

    handles = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    y = _features(network, x)
    for handle in handles:
        handle.remove()
    return y, torch.stack([*scales, x.new_zeros((), dtype=torch.float64)]).sum()


def _features(network: Network, image: Tensor) -> Tensor:
    x = image
    for module in list(network.blocks)[:-1]:
        x = run_block(module, x, image)
    return x.double()
