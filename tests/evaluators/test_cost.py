"""Cost: equal to hand counts; what is alive at the peak (the suites of blocks and spaces count anew by torch's modules)."""

import math
import random

import pytest
from every_block import every_block
from torch import nn

from evaluators.cost import block_costs, cost
from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.space_file import load_space
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)


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


def test_peak_holds_at_least_input_and_output() -> None:
    genotype = load_space("tiny").sample(random.Random(1))
    for block in block_costs(genotype, TASK):
        least = math.prod(block.in_shape) + (math.prod(block.out_shape) if block.spec.stride == 2 else 0)
        assert block.cost.peak_mib * 2**20 / 4 >= least


def test_a_image_that_is_read_later_stays_in_memory() -> None:
    plain = Genotype.parse("conv 16/2\ninverted_residual 16/1\neesp 32/2\nhead")
    reads = Genotype.parse("conv 16/2\ninverted_residual 16/1\neesp 32/2 reinforce=yes\nhead")
    before, after = (block_costs(g, TASK)[1].cost.peak_mib for g in (plain, reads))
    assert (after - before) * 2**20 / 4 == 3 * 32 * 32


@pytest.mark.parametrize("text", every_block().values(), ids=every_block())
def test_weights_are_those_of_torch_modules(text: str) -> None:
    genotype = Genotype.parse(f"conv 16/1\n{text}\nhead")
    network = build(genotype, TASK)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    found = cost(genotype, TASK)
    assert found.weights == sum(layer.weight.numel() for layer in layers)
    assert found.size_bytes("float32") == 4 * found.params
    assert found.size_bytes("int8") == found.weights + 4 * (found.params - found.weights)
    assert found.memory_bytes("float32") == 4 * found.memory_bytes("int8") == round(found.peak_mib * 2**20)
