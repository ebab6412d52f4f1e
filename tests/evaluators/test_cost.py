"""Cost: equal to hand counts, to an independent counter of module hooks, and to the anchors' exact figures."""

import math
import random

import pytest
import torch
from every_block import every_block
from torch import nn

from evaluators.cost import block_costs, cost
from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype
from search_spaces.network import build, example_input
from search_spaces.space_file import load_space, space_names
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)


def counted(genotype: Genotype, task: Task) -> tuple[int, int, int]:
    """(params, MACs, activations) by hooks on the modules that ran, without any graph.

    On the meta device gates have no values to decide by, and nothing is left out.
    """
    network = build(genotype, task).eval().to("meta")
    macs, activations = [], []

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        per_output = module.weight.numel() // module.weight.shape[0]
        macs.append(output.numel() * per_output)
        activations.append(output.numel())

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(hook)
    with torch.no_grad():
        network(example_input(task).to("meta"))
    return sum(p.numel() for p in network.parameters()), sum(macs), sum(activations)


def with_block(line: str) -> Genotype:
    return Genotype.parse(f"conv 16/2\n{line}\nhead")


def test_hand_count() -> None:
    genotype = Genotype.parse("conv 8/2 act=relu\ninverted_residual 8/1 expand=2\nhead")
    stem, middle, head = (b.cost for b in block_costs(genotype, TASK))
    assert (stem.params, stem.macs, stem.activations) == (8 * 3 * 9 + 16, 16 * 16 * 8 * 3 * 9, 16 * 16 * 8)
    assert middle.params == 8 * 16 + 32 + 16 * 9 + 32 + 16 * 8 + 16
    assert middle.macs == 256 * (8 * 16 + 16 * 9 + 16 * 8)
    assert (head.params, head.macs, head.activations) == (8 * 10 + 10, 80, 10)


def test_peak_memory_by_hand() -> None:
    genotype = Genotype.parse("conv 8/2 act=relu\ninverted_residual 8/1 expand=2\nhead")
    stem, middle, _ = (b.cost.peak_mib * 2**20 / 4 for b in block_costs(genotype, TASK))
    assert stem == 3 * 32 * 32 + 8 * 16 * 16
    assert middle == 256 * (8 + 16 + 16)  # the input waits for the addition; expanded maps before and after depthwise


def test_mobilenet_v2_is_exact() -> None:
    known = anchor("mobilenet_v2")
    found = cost(known.genotype, known.task)
    assert (found.params, found.macs) == (3504872, 300774272)


@pytest.mark.parametrize("name", every_block())
def test_every_block_agrees_with_hooks(name: str) -> None:
    genotype = with_block(every_block()[name])
    found = cost(genotype, TASK)
    assert (found.params, found.macs, found.activations) == counted(genotype, TASK)


@pytest.mark.parametrize("name", space_names())
def test_spaces_agree_with_hooks_and_add_up(name: str) -> None:
    space, rng = load_space(name), random.Random(5)
    task = space.task(10)
    for genotype in (space.sample(rng) for _ in range(3)):
        found, blocks = cost(genotype, task), block_costs(genotype, task)
        assert (found.params, found.macs, found.activations) == counted(genotype, task)
        assert found.macs == sum(b.cost.macs for b in blocks) and found.params == sum(b.cost.params for b in blocks)
        assert found.peak_mib == max(b.cost.peak_mib for b in blocks)
        assert [b.out_shape for b in blocks[:-1]] == [b.in_shape for b in blocks[1:]]


def test_peak_holds_at_least_input_and_output() -> None:
    genotype = load_space("tiny").sample(random.Random(1))
    for block in block_costs(genotype, TASK):
        least = math.prod(block.in_shape) + (math.prod(block.out_shape) if block.spec.stride == 2 else 0)
        assert block.cost.peak_mib * 2**20 / 4 >= least


def test_a_picture_that_is_read_later_stays_in_memory() -> None:
    plain = Genotype.parse("conv 16/2\ninverted_residual 16/1\neesp 32/2\nhead")
    reads = Genotype.parse("conv 16/2\ninverted_residual 16/1\neesp 32/2 reinforce=yes\nhead")
    before, after = (block_costs(g, TASK)[1].cost.peak_mib for g in (plain, reads))
    assert (after - before) * 2**20 / 4 == 3 * 32 * 32
