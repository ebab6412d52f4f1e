"""Fast forms: every block computes the same in training and in eval mode, in either layout, and keeps its tensors' names."""

import itertools
from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from every_block import every_block
from torch import Tensor, nn

from evaluators.training.kernels.fast import _FAST, fast
from nas.testing.networks import WIDTH
from search_spaces.genotype import Genotype
from search_spaces.network import build, build_block, run_block
from search_spaces.ops.conv import DepthwiseConv2d
from search_spaces.ops.learnt_shift import LearntShift
from search_spaces.task import Task


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)


def block_of(text: str) -> nn.Module:
    """A block without dropout, whose shifts have learnt."""
    block = build_block(Genotype.parse(f"{text}\nhead").blocks[0], WIDTH, 10)
    for module in block.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, LearntShift):
            nn.init.uniform_(module.row_offsets, -2, 2)
            nn.init.uniform_(module.col_offsets, -2, 2)
    return block.double()


def results(block: nn.Module, x: Tensor, image: Tensor) -> Iterator[Tensor]:
    """The output, the gradients of input and parameters, and the buffers afterwards."""
    y = run_block(block, x, image)
    yield y.detach()
    for gradient in torch.autograd.grad(y.square().mean(), [x, *block.parameters()], allow_unused=True):
        if gradient is not None:
            yield gradient
    yield from block.buffers()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("text", every_block().values(), ids=list(every_block()))
def test_every_block_computes_the_same(text, mode, layout):
    plain = block_of(text).train(mode)
    quick = fast(deepcopy(plain))
    for size in (8, 3):
        x, image = (torch.randn(4, c, size, size, dtype=torch.float64).to(memory_format=layout) for c in (WIDTH, 3))
        x.requires_grad_()
        for ours, theirs in zip(results(quick, x, image), results(plain, x, image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("text", every_block().values(), ids=list(every_block()))
def test_only_forms_change(text):
    plain = block_of(text)
    quick = fast(deepcopy(plain))
    assert list(quick.state_dict()) == list(plain.state_dict())
    for (name, ours), (same, theirs) in zip(quick.named_modules(), plain.named_modules(), strict=True):
        assert name == same and type(ours) is _FAST.get(type(theirs), type(theirs))
    assert fast(quick) is quick and fast(deepcopy(quick)).state_dict().keys() == plain.state_dict().keys()


def test_a_built_network_is_plain():
    genotype = Genotype.parse("conv 8/2\nshuffle 16/2\nfe 16/1\nhead\n")
    network = build(genotype, Task((3, 16, 16), 3))
    assert {type(module).__module__.partition(".")[0] for module in network.modules()} == {"search_spaces", "torch"}


@pytest.mark.parametrize(("kernel", "stride", "dilation"), itertools.product((1, 3, 5, 7), (1, 2), (1, 2, 3, 4)))
def test_taps_outside_the_map_are_left_out_without_a_difference(kernel, stride, dilation):
    module = fast(DepthwiseConv2d(4, kernel, stride, dilation)).double().train()
    padding = dilation * (kernel // 2)
    for height, width in itertools.product((1, 2, 3, 4, 7), repeat=2):
        x = torch.randn(2, 4, height, width, dtype=torch.float64, requires_grad=True)
        ours, theirs = module(x), F.conv2d(x, module.weight, None, stride, padding, dilation, 4)
        gradient = torch.randn_like(theirs)
        ours_back = torch.autograd.grad(ours, (x, module.weight), gradient)
        theirs_back = torch.autograd.grad(theirs, (x, module.weight), gradient)
        for a, b in zip((ours, *ours_back), (theirs, *theirs_back), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
