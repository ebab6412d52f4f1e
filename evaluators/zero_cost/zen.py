"""zen: how strongly the features of a network with random weights react to small changes of its input."""

import torch
from torch import Tensor, nn

from evaluators.zero_cost._networks import for_batch
from search_spaces.network import Network, run_block

_ALPHA = 0.01


def score(network: Network, images: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """log E ||f(x) - f(x + .01 e)|| + sum over batch norms of log sqrt(mean variance of their input); arXiv:2102.01063.

    f is all but the head; its weights, x and e are standard normal. Batch norm uses the batch's statistics, dropout is off.
    Identities stay, which the authors remove. Of the images only the shape is used; the network's own weights do not matter
    either, except slopes of activations and offsets of shifts.
    """
    features = for_batch(network)
    with torch.no_grad():
        _redraw(features, generator)
        x, e = (torch.randn(images.shape, generator=generator).to(images) for _ in range(2))
        still, scale = _run_with_scale(features, x)
        moved = _features(features, x + _ALPHA * e)
    return float((still - moved).flatten(1).norm(dim=1).mean().log() + scale)


def _redraw(network: Network, generator: torch.Generator) -> None:
    """Weights standard normal, batch norm's affine pair the identity, no biases."""
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
    """The features, and the logarithm of all that batch norms divided by."""
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
