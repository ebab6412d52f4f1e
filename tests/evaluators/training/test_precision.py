"""Passes in low precision: about the same outputs, no gradients, and nothing left of it behind them."""

import torch
from torch import nn

from evaluators.training.precision import lowered_passes
from search_spaces.anchor import anchor
from search_spaces.network import build
from search_spaces.task import Task

CPU = torch.device("cpu")


@torch.no_grad()
def test_outputs_are_about_the_same():
    torch.manual_seed(0)
    network = build(anchor("mobilenet_v2").genotype.at((3, 64, 64)), Task((3, 64, 64), 5)).eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    images = torch.randn(4, 3, 64, 64)
    wanted = network(images)
    with lowered_passes(CPU, True):
        rough = network(images).float()
    assert float((rough - wanted).std()) < 0.15 * float(wanted.std())


def test_no_gradients_are_taken_within_and_all_is_as_before_behind():
    layer = nn.Linear(4, 4)
    for on in (True, False):
        with lowered_passes(CPU, on):
            assert not layer(torch.ones(1, 4)).requires_grad
        assert layer(torch.ones(1, 4)).dtype == torch.float32 and layer(torch.ones(1, 4)).requires_grad
    with lowered_passes(CPU, False):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
