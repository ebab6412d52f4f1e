"""Lean passes: every hand-designed network keeps its outputs when its batch norms are folded."""

import pytest
import torch
from torch import nn

from evaluators.training.lean import at_once, folded
from search_spaces.anchor import anchor, anchor_names
from search_spaces.network import build
from search_spaces.ops.norm_act import normed
from search_spaces.task import Task

CPU = torch.device("cpu")
INPUT = (3, 64, 64)


def _network(name):
    """With batch norms whose statistics, scales and shifts are not those of a new network, and not its epsilon."""
    torch.manual_seed(0)
    network = build(anchor(name).genotype.at(INPUT), Task(INPUT, 5)).to(memory_format=torch.channels_last).eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
        nn.init.normal_(norm.running_mean, 0, 0.3)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
        norm.eps = 1e-3
    return network


@pytest.mark.parametrize("name", [name for name in anchor_names() if ":" not in name])
@torch.no_grad()
def test_folded_networks_have_the_same_outputs(name):
    network, images = _network(name), torch.randn(4, *INPUT).contiguous(memory_format=torch.channels_last)
    wanted = network(images)
    lean = folded(network)
    spread = float(wanted.std())
    torch.testing.assert_close(lean(images), wanted, rtol=1e-3, atol=1e-3 * spread)
    torch.testing.assert_close(network(images), wanted, rtol=0, atol=0)
    assert not list(normed(lean))


def test_a_folded_copy_does_not_follow_its_network():
    network = _network("mobilenet_v2")
    lean, images = folded(network.train()), torch.randn(2, *INPUT)
    assert network.training and not lean.training
    before = lean(images)
    nn.init.zeros_(next(network.parameters()))
    torch.testing.assert_close(lean(images), before, rtol=0, atol=0)


@pytest.mark.parametrize(("side", "count"), [(8, 256), (96, 28), (224, 5), (512, 4)])
def test_fewer_large_images_are_shown_at_once(side, count):
    assert at_once((3, side, side), CPU) == count
