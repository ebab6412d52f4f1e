"""Every anchor runs: it exports to ONNX and agrees with torch, and its loss falls in a few steps of training."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from evaluators.onnx import export_onnx, onnx_difference
from search_spaces.anchor import Anchor, anchors
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

CLASSES = 10
# float32 keeps 1e-7; a hundred layers summed in another order keep more than 1e-4 of the largest logit
TOLERANCE = 1e-4
DISTINCT = {a.genotype.id: a for a in anchors()}  # variants that differ in the input's size alone share a genotype
every_genotype = pytest.mark.parametrize("each", DISTINCT.values(), ids=lambda a: a.name)


def small(each: Anchor) -> Task:
    """The anchor's task on small pictures: its layers are the same."""
    return Task((3, 32, 32) if each.task.input[1] == 32 else (3, 64, 64), CLASSES)


def network_of(genotype: Genotype, task: Task) -> nn.Module:
    torch.manual_seed(0)
    return build(genotype, task)


@pytest.mark.slow
@every_genotype
def test_exports_and_agrees(each: Anchor, tmp_path: Path) -> None:
    network = network_of(each.genotype, small(each))
    export_onnx(network, small(each), tmp_path / "network.onnx")
    assert onnx_difference(network, tmp_path / "network.onnx", small(each), seed=1) < TOLERANCE


@pytest.mark.slow
@every_genotype
def test_learns_four_pictures(each: Anchor) -> None:
    network = network_of(each.genotype, Task((3, 32, 32), CLASSES)).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses = []
    for _ in range(12):
        loss = cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        if losses[-1] < losses[0]:
            return
    pytest.fail(f"the loss has not fallen in {len(losses)} steps: {losses}")
