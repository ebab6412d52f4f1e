"""Convolutions in bfloat16 against torch: on rounded numbers in double precision, and every block against torch's autocast."""

import itertools
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from every_block import every_block, noise
from torch import Tensor, nn

from evaluators.training.kernels import low_precision
from evaluators.training.kernels.fast import fast
from evaluators.training.kernels.low_precision import applies, bfloat16_convolutions, convolution
from evaluators.training.kernels.pointwise import FastConv2d
from nas.testing.networks import WIDTH
from search_spaces.genotype import Genotype
from search_spaces.network import build_block, run_block
from search_spaces.ops.norm_act import Layers

pytestmark = pytest.mark.usefixtures("one_thread_of_torch")
ULP = 2**-8  # of bfloat16, at most, relative
with_avx512 = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_f"),
    reason="without AVX-512, torch sums bfloat16 convolutions less exactly; searches do not use them there",
)


@with_avx512
@pytest.mark.parametrize(("kernel", "stride", "width"), itertools.product((1, 3, 5), (1, 2), (16, 40)))
def test_it_is_the_convolution_of_rounded_numbers_rounded(kernel, stride, width):
    layer = nn.Conv2d(24, width, kernel, stride, kernel // 2, bias=False)
    x = noise(5, 24, 7, 6)
    with bfloat16_convolutions():
        assert applies(layer, x)
        y = convolution(layer, x)
    assert y.dtype == torch.bfloat16
    dy = torch.randn(y.shape).bfloat16()
    ours = [y, *torch.autograd.grad(y, [x, layer.weight], dy)]
    rounded = [t.detach().bfloat16().double().requires_grad_() for t in (x, layer.weight)]
    exact = F.conv2d(*rounded, None, stride, kernel // 2)
    theirs = [exact, *torch.autograd.grad(exact, rounded, dy.double())]
    assert [t.dtype for t in ours[1:]] == [torch.float32] * 2
    for a, b in zip(ours, theirs, strict=True):
        assert ((a.double() - b).abs() <= ULP * b.abs() + 1e-4 * b.abs().max()).all()


@with_avx512
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("text", every_block().values(), ids=list(every_block()))
def test_every_block_is_as_near_as_with_autocast(text, threads, monkeypatch):
    """Results and gradients by inputs and weights are no further from those of float32 than twice autocast's."""
    torch.set_num_threads(threads)
    monkeypatch.setattr(low_precision, "_LEAST", 1)
    block = build_block(Genotype.parse(f"{text}\nhead").blocks[0], WIDTH, 10).to(memory_format=torch.channels_last)
    block = fast(block).train()
    for module in block.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x, image = noise(8, WIDTH, 8, 8), noise(8, 3, 16, 16)
    dy = torch.randn(run_block(block, x, image).shape)

    def results(context: AbstractContextManager[object]) -> list[Tensor]:
        with context:
            y = run_block(block, x, image)
        differentiable = [x, *block.parameters()]
        gradients = torch.autograd.grad(y, differentiable, dy.to(y.dtype), allow_unused=True)
        return [y.detach(), *(g for g in gradients if g is not None)]

    exact, ours = results(torch.enable_grad()), results(bfloat16_convolutions())
    theirs = results(torch.autocast("cpu", torch.bfloat16))
    assert all(t.dtype == torch.float32 for t in ours)
    assert any(not torch.equal(e, a) for e, a in zip(exact, ours, strict=True)) == any(map(_dense, block.modules()))
    for e, a, b in zip(exact, ours, theirs, strict=True):
        assert (a - e).norm() <= 2 * (b - e).norm() + 0.02 * e.norm()


def _dense(module: nn.Module) -> bool:
    """Whether it has a convolution that may be in bfloat16."""
    layers = list(module) if isinstance(module, Layers) else []
    return any(type(layer) is FastConv2d and layer.groups == 1 and layer.bias is None for layer in layers)


def test_where_it_does_not_apply():
    layer, x = nn.Conv2d(16, 16, 1, bias=False), noise(2, 16, 3, 3)
    assert not applies(layer, x)
    with bfloat16_convolutions():
        assert applies(layer, x)
        assert not applies(layer, x.double())
        assert not applies(layer, x.contiguous())
        assert not applies(nn.Conv2d(15, 16, 1, bias=False), x)
        assert not applies(nn.Conv2d(16, 15, 1, bias=False), x)
        assert not applies(nn.Conv2d(16, 16, 1), x)
        assert not applies(nn.Conv2d(16, 16, 1, groups=4, bias=False), x)
        assert not applies(nn.Linear(16, 16), x)
        with torch.no_grad():
            assert not applies(layer, x)
        assert not applies(layer.eval(), x)
    assert not applies(layer.train(), x)
