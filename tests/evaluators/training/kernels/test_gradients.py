"""Gradients of the fast forms on one thread against torch's operations in double precision, alone and in every block."""

import itertools
from collections.abc import Sequence
from copy import deepcopy

import numba
import pytest
import torch
from every_block import every_block, noise
from numba.core.caching import CompileResultCacheImpl
from torch import Tensor, nn

from evaluators.training.kernels import depthwise, weight_gradient
from evaluators.training.kernels.depthwise import Geometry, depthwise_applies
from evaluators.training.kernels.fast import fast
from nas.testing.networks import WIDTH
from search_spaces.genotype import Genotype
from search_spaces.network import build_block, run_block
from search_spaces.ops.conv import DepthwiseConv2d, PaddedConv2d

pytestmark = pytest.mark.usefixtures("one_thread_of_torch")


def results(module: nn.Module, inputs: Sequence[Tensor], dy: Tensor) -> list[Tensor]:
    """The output, the gradients of inputs and parameters, and the buffers afterwards."""
    y = module(*inputs)
    differentiable = [*inputs, *module.parameters()]
    gradients = torch.autograd.grad(y, differentiable, dy.to(y.dtype), allow_unused=True)
    return [y.detach(), *(g for g in gradients if g is not None), *module.buffers()]


def assert_as_torch(module: nn.Module, inputs: Sequence[Tensor], dy: Tensor, tolerance: float = 2e-5) -> None:
    """The module's results equal torch's in double precision, within `tolerance` of each tensor's largest number."""
    exact = deepcopy(module).double()
    theirs = results(exact, [x.detach().double().requires_grad_() for x in inputs], dy)
    ours = results(module, inputs, dy)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.double() - b).abs().max() <= tolerance * max(0.05, float(b.abs().max()))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each run of the loop."""
    found: list[int] = []
    loop = weight_gradient.depthwise_weight_gradient

    def counted(*arguments: object) -> None:
        found.append(1)
        loop(*arguments)

    monkeypatch.setattr(depthwise, "_weight_gradient", lambda: counted)
    return found


@pytest.mark.parametrize(("kernel", "stride", "dilation"), itertools.product((1, 3, 5, 7), (1, 2), (1, 2, 3, 4)))
def test_depthwise_gradients_are_torchs(kernel, stride, dilation, runs):
    module = fast(DepthwiseConv2d(6, kernel, stride, dilation)).train()
    for height, width in itertools.product((2, 3, 4, 7, 8), repeat=2):
        x = noise(3, 6, height, width)
        assert_as_torch(module, [x], torch.randn(module(x).shape))
    assert runs


@pytest.mark.parametrize(("kernel", "stride"), itertools.product((1, 3, 5, 7), (1, 2, 4)))
def test_depthwise_gradients_with_tensorflows_padding_are_torchs(kernel, stride, runs):
    module = fast(PaddedConv2d(6, 6, kernel, stride, groups=6, bias=False, padding="same")).train()
    for height, width in itertools.product((1, 2, 3, 4, 7, 8, 9), repeat=2):
        x = noise(3, 6, height, width)
        assert_as_torch(module, [x], torch.randn(module(x).shape))
    assert len(runs) >= 7  # square maps, at least


@pytest.mark.parametrize(("channels", "stride"), itertools.product((1, 3, 4, 6, 8, 12, 15, 16, 17), (1, 2)))
def test_pointwise_gradients_of_few_channels_are_torchs(channels, stride):
    module = fast(nn.Conv2d(channels, 12, 1, stride, bias=False)).train()
    for side in (3, 6, 12):
        x = noise(16, channels, side, side)
        assert_as_torch(module, [x], torch.randn(module(x).shape))


def test_prelu_is_torchs_at_zero_too():
    plain = nn.PReLU(2)
    nn.init.constant_(plain.weight, 0.3)
    quick = fast(deepcopy(plain))
    x = torch.tensor([-2.0, 0.0, 0.0, 3.0]).view(1, 2, 2, 1).requires_grad_()
    dy = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 2, 2, 1)
    for a, b in zip(results(quick, [x], dy), results(plain, [x], dy), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("text", every_block().values(), ids=list(every_block()))
def test_every_block_learns_as_with_torch(text):
    block = build_block(Genotype.parse(f"{text}\nhead").blocks[0], WIDTH, 10).to(memory_format=torch.channels_last)

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = fast(block)

        def forward(self, x: Tensor, image: Tensor) -> Tensor:
            return run_block(self.block, x, image)

    alone, x, image = Alone().train(), noise(8, WIDTH, 8, 8), noise(8, 3, 16, 16)
    for module in alone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert_as_torch(alone, [x, image], torch.randn(alone(x, image).shape), 1e-3)


def test_torch_computes_where_the_loop_does_not_apply():
    x, strided = noise(2, 4, 8, 8), Geometry(2, 1, 1)
    assert depthwise_applies(x, 3, strided)
    assert not depthwise_applies(x, 3, Geometry(1, 1, 1))
    assert not depthwise_applies(x.double(), 3, strided)
    assert not depthwise_applies(x.contiguous(), 3, strided)
    with torch.no_grad():
        assert not depthwise_applies(x, 3, strided)
    torch.set_num_threads(2)
    assert not depthwise_applies(x, 3, strided)


def test_the_loop_compiles_without_a_writable_cache(monkeypatch):
    def twice(x: float) -> float:
        return 2 * x

    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit("f8(f8)", cache=True)(twice)
    assert weight_gradient._compiled("f8(f8)")(twice)(21.0) == 42.0
