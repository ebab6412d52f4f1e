"""Anchors compute what torchvision's and timm's networks of the same name compute, given the same weights."""

import pytest
import torch
from reference_networks import WITH_REFERENCE, randomise, reference_network
from torch import Tensor, nn

from search_spaces.anchor import anchor
from search_spaces.network import build

SIZE = 64
TOLERANCE = 1e-5  # of the largest output; in float64 differences are rounding, of 1e-12, and a wrong layer makes 1e-1


def layers(network: nn.Module, x: Tensor) -> list[nn.Module]:
    """The modules that hold tensors of their own, in the order in which they run."""
    found: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda module, *_: found.append(module))
        for m in network.modules()
        if next(m.parameters(recurse=False), None) is not None
    ]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return found


def copy_layers(source: nn.Module, target: nn.Module, x: Tensor) -> None:
    """Weights, statistics and batch norm's constants, layer by layer in running order."""
    for theirs, ours in zip(layers(source, x), layers(target, x), strict=True):
        shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}  # a 1x1 convolution may stand for a linear
        ours.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in theirs.state_dict().items()})
        if isinstance(theirs, nn.BatchNorm2d) and isinstance(ours, nn.BatchNorm2d):
            ours.eps = theirs.eps


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    known = anchor(name)
    theirs, ours = reference_network(known.reference).double(), build(known.genotype, known.task).double()
    x = torch.randn(4, 3, SIZE, SIZE, dtype=torch.float64)
    for network in (theirs, ours):
        randomise(network)
    copy_layers(theirs, ours, x)
    assert {m.eps for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)} <= {known.norm_eps}
    for training in (False, True):
        with torch.no_grad():
            expected, found = theirs.train(training)(x), ours.train(training)(x)
        assert expected.std() > 0
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
