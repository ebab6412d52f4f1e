"""Anchors compute what torchvision's and timm's networks of the same name compute, given the same weights."""

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from search_spaces.anchor import anchor, anchor_names
from search_spaces.network import build

SIZE = 64
TOLERANCE = 1e-5  # of the largest output; in float64 differences are rounding, of 1e-12, and a wrong layer makes 1e-1


WITH_REFERENCE = [name for name in anchor_names() if anchor(name).reference]
# what their constructors take so that the network has the same parts
ARGUMENTS: dict[str, dict[str, Any]] = {"torchvision/googlenet": {"aux_logits": False, "init_weights": False}}


def reference_network(name: str) -> nn.Module:
    """The network called `torchvision/NAME` or `timm/NAME`, with random weights."""
    library, _, model = name.partition("/")
    make = {"torchvision": torchvision.models.get_model, "timm": timm.create_model}[library]
    return make(model, **ARGUMENTS.get(name, {}))  # type: ignore[no-any-return]


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


def randomise(network: nn.Module) -> None:
    """Batch norms that do something in evaluation too; no dropout, which is random."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            tensors: list[Any] = [module.weight, module.bias, module.running_mean, module.running_var]
            for tensor in tensors:
                nn.init.uniform_(tensor, 0.5, 1.5)
        elif isinstance(module, nn.Dropout):
            module.p = 0.0


def copy_layers(source: nn.Module, target: nn.Module, x: Tensor) -> None:
    """Weights, statistics and batch norm's constants, layer by layer in running order."""
    for theirs, ours in zip(layers(source, x), layers(target, x), strict=True):
        ours.load_state_dict(theirs.state_dict())
        if isinstance(theirs, nn.BatchNorm2d) and isinstance(ours, nn.BatchNorm2d):
            ours.eps = theirs.eps


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    known = anchor(name)
    theirs, ours = reference_network(known.reference).double(), build(known.genotype, known.task).double()
    size = max(SIZE, min(known.task.input[1:])) if "pool=" in known.genotype.text else SIZE
    x = torch.randn(4, 3, size, size, dtype=torch.float64)
    for network in (theirs, ours):
        randomise(network)
    copy_layers(theirs, ours, x)
    assert {m.eps for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)} <= {known.norm_eps}
    for training in (False, True):
        with torch.no_grad():
            expected, found = theirs.train(training)(x), ours.train(training)(x)
        assert expected.std() > 0
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
