"""check_anchor: test suite for a hand-designed network."""

from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from evaluators.cost import block_costs
from evaluators.counting import MACS_RULES, PARAMS_RULES, Rule, agrees, rule
from nas.testing.deployed import check_export
from nas.testing.networks import counted
from nas.testing.said import said
from search_spaces.anchor import Anchor, anchor, anchor_names
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.network import build
from search_spaces.task import Task
from search_spaces.weights import expand, has_tensors

_CLASSES, _STEPS = 10, 12


def check_anchor(name: str) -> None:
    """Check the anchor `name` or `name:variant`; raises AssertionError that says what is wrong.

    Params and MACs must equal those in its file, and match the published figures by their counting rule unless these are
    marked as unsettled; the figures must have a source. Its text must parse to the same genotype. Every layer must have one
    name in each source of trained weights. On small images, with at most two of equal blocks in a row, ONNX Runtime's logits
    must equal torch's, and the loss on four images must decrease within a few steps. Raises InputError if there is no such
    anchor. Does not change torch's global generator.
    """
    known = anchor(name)
    where = f"anchor {name}"
    assert known.name in anchor_names(), f"{where} is called {known.name} in the list of anchors"
    documented = known.paper and known.family and known.published.source
    assert documented, f"{where} needs a family, a paper and a source of its figures"
    top1 = known.published.top1
    assert top1 is None or 0 < top1 < 100, f"{where}: top1 must be in percent, not {top1}"
    assert Genotype.parse(known.genotype.text) == known.genotype, f"{where}: its text parses to another genotype"
    with said(f"{where} cannot be built"):
        params, macs, _ = counted(known.genotype, known.task)
    exact = (known.params, known.macs)
    assert exact == (params, macs), f"{where}: its file states (params, macs) {exact}, its modules have {(params, macs)}"
    _check_published(known, where)
    _check_layers(known, where)
    side = 32 if known.task.input[1] == 32 else 64
    task = Task((known.task.input[0], side, side), _CLASSES)
    _check_network(_folded(known.genotype, task), task)


def _folded(genotype: Genotype, task: Task) -> Genotype:
    """The network with at most two of a run of equal blocks that keep the shape of their input."""
    kept: list[BlockSpec] = []
    for block in block_costs(genotype, task):
        if block.in_shape != block.out_shape or kept[-2:] != [block.spec] * 2:
            kept.append(block.spec)
    return replace(genotype, blocks=tuple(kept))


def _check_published(known: Anchor, where: str) -> None:
    published = known.published
    if published.unsettled:
        return
    figures: list[tuple[str, float | None, Rule]] = [
        ("parameters", published.params_m, rule(PARAMS_RULES, published.params_count)),
        ("MACs", published.macs_m, rule(MACS_RULES, published.macs_count)),
    ]
    for what, printed, count in figures:
        found = count(known.genotype, known.task) if printed is not None else 0
        assert printed is None or agrees(printed, found), f"{where}: {printed} million {what} are published, {found} counted"


def _check_layers(known: Anchor, where: str) -> None:
    with torch.device("meta"):
        layers = [module for module in build(known.genotype, known.task).modules() if has_tensors(module)]
    for source, pattern in known.weights.items():
        names = expand(pattern)
        once = len(names) == len(set(names)) == len(layers)
        assert once, f"{where}: weights of {source} have {len(set(names))} names for {len(layers)} layers"


@cache
def _check_network(genotype: Genotype, task: Task) -> None:
    """Export and train it; once for variants that differ only in input size."""
    where = f'network "{"; ".join(genotype.text.splitlines())}"'
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        check_export(build(genotype, task), task, where)
        torch.manual_seed(0)
        losses = _losses(build(genotype, Task((task.input[0], 32, 32), task.classes)).train(), task)
    assert min(losses) < losses[0], f"{where}: its loss did not decrease in {len(losses)} steps: {losses}"


def _losses(network: nn.Module, task: Task) -> list[float]:
    """Training loss on four images per step, until it is lower than at the start."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images, labels = torch.randn(4, task.input[0], 32, 32), torch.arange(4)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses: list[float] = []
    while len(losses) < _STEPS and not (losses and losses[-1] < losses[0]):
        loss = cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses
