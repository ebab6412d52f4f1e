"""Anchors compute what torchvision's and timm's networks of the same name compute, given the same weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype
from search_spaces.network import build

SIZE = 64
TOLERANCE = 1e-5  # of the largest output; in float64 differences are rounding, of 1e-12, and a wrong layer makes 1e-1


def torchvision_model(name: str) -> nn.Module:
    return pytest.importorskip("torchvision").models.get_model(name)  # type: ignore[no-any-return]


def timm_model(name: str) -> nn.Module:
    return pytest.importorskip("timm").create_model(name)  # type: ignore[no-any-return]


REFERENCES: dict[str, tuple[Callable[[str], nn.Module], str]] = {
    "mobilenet_v1": (timm_model, "mobilenetv1_100"),
    "mobilenet_v2": (torchvision_model, "mobilenet_v2"),
    "mobilenet_v3": (torchvision_model, "mobilenet_v3_large"),
    "mobilenet_v3:small": (torchvision_model, "mobilenet_v3_small"),
    "shufflenet_v2:0.5": (torchvision_model, "shufflenet_v2_x0_5"),
    "shufflenet_v2:1.0-torchvision": (torchvision_model, "shufflenet_v2_x1_0"),
}


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


@pytest.mark.parametrize("name", REFERENCES)
def test_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    make, reference = REFERENCES[name]
    theirs = make(reference).double()
    # torchvision's ShuffleNetV2 has a bias in its classifier where the authors' has none
    genotype = Genotype.parse(anchor(name).genotype.text.replace("head bias=no", "head"))
    ours = build(genotype, anchor(name).task).double()
    x = torch.randn(4, 3, SIZE, SIZE, dtype=torch.float64)
    for network in (theirs, ours):
        randomise(network)
    copy_layers(theirs, ours, x)
    for training in (False, True):
        with torch.no_grad():
            expected, found = theirs.train(training)(x), ours.train(training)(x)
        assert expected.std() > 0
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
