"""The loops of training on one thread against torch's operations in double precision, alone and in every block."""

import importlib
import itertools
import random
from collections.abc import Sequence
from copy import deepcopy

import numba
import pytest
import torch
from every_block import every_block, noise
from numba.core.caching import CompileResultCacheImpl
from torch import Tensor, nn

from evaluators.training.kernels import shifts
from evaluators.training.kernels.fast import fast
from evaluators.training.kernels.layers import activation_code, batch_norm_applies
from evaluators.training.kernels.loops import batch_norm, compiled, shift
from evaluators.training.kernels.shifts import fast_corners, fast_moved, shift_applies
from nas.testing.networks import WIDTH
from search_spaces.blocks.shuffle import Shuffle
from search_spaces.genotype import Genotype
from search_spaces.network import build_block, run_block
from search_spaces.ops.activation import activation
from search_spaces.ops.channel_shuffle import channel_shuffle
from search_spaces.ops.conv import DepthwiseConv2d, PaddedConv2d
from search_spaces.ops.norm_act import norm_act
from search_spaces.ops.shift import Run
from search_spaces.ops.sparse_shift import corners, moved

pytestmark = pytest.mark.usefixtures("one_thread_of_torch")


def results(module: nn.Module, inputs: Sequence[Tensor], dy: Tensor) -> list[Tensor]:
    """What the module gives, the gradients of its inputs and parameters, and its buffers afterwards."""
    y = module(*inputs)
    differentiable = [*inputs, *module.parameters()]
    gradients = torch.autograd.grad(y, differentiable, dy.to(y.dtype), allow_unused=True)
    return [y.detach(), *(g for g in gradients if g is not None), *module.buffers()]


def assert_as_torch(module: nn.Module, inputs: Sequence[Tensor], dy: Tensor, tolerance: float = 2e-5) -> None:
    """The module gives what torch does in double precision, within `tolerance` of each tensor's largest number."""
    exact = deepcopy(module).double()
    theirs = results(exact, [x.detach().double().requires_grad_() for x in inputs], dy)
    ours = results(module, inputs, dy)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.double() - b).abs().max() <= tolerance * max(0.05, float(b.abs().max()))


def used(monkeypatch: pytest.MonkeyPatch, file: str, name: str) -> list[str]:
    """A list that grows when the loop called `name` is run."""
    runs: list[str] = []
    module = importlib.import_module(f"evaluators.training.kernels.loops.{file}")
    loop = getattr(module, name)

    def counted(*arguments: object) -> None:
        runs.append(name)
        loop(*arguments)

    monkeypatch.setattr(module, name, counted)
    return runs


@pytest.mark.parametrize("act", ["none", "relu", "relu6", "hard_swish", "swish", "prelu"])
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (3, 5, 7, 3), (64, 24, 8, 8), (1, 600, 2, 1), (7, 96, 5, 5)])
def test_batch_norm_with_its_activation_is_torchs(act, shape, monkeypatch):
    runs = used(monkeypatch, "batch_norm", "batch_norm_gradient")
    row = fast(norm_act(shape[1], act)).train()
    nn.init.normal_(row[0].weight, 1.0, 2.0)
    nn.init.normal_(row[0].bias, 0.0, 2.0)
    x = noise(*shape)
    assert_as_torch(row, [x], torch.randn(shape), 1e-4 if shape[0] < 3 else 2e-5)
    assert runs


def test_a_large_mean_does_not_swallow_the_variance():
    x = noise(16, 8, 4, 4)
    x.data += 300.0
    assert_as_torch(fast(norm_act(8, "relu")).train(), [x], torch.randn(x.shape), 1e-3)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), itertools.product((1, 3, 5, 7), (1, 2), (1, 2, 3, 4)))
def test_depthwise_gradients_are_torchs(kernel, stride, dilation, monkeypatch):
    runs = used(monkeypatch, "depthwise", "depthwise_weight_gradient")
    module = fast(DepthwiseConv2d(6, kernel, stride, dilation)).train()
    for height, width in itertools.product((2, 3, 4, 7, 8), repeat=2):
        x = noise(3, 6, height, width)
        assert_as_torch(module, [x], torch.randn(module(x).shape))
    assert runs


@pytest.mark.parametrize(("kernel", "stride"), itertools.product((1, 3, 5, 7), (1, 2, 4)))
def test_depthwise_gradients_with_tensorflows_padding_are_torchs(kernel, stride, monkeypatch):
    runs = used(monkeypatch, "depthwise", "depthwise_weight_gradient")
    module = fast(PaddedConv2d(6, 6, kernel, stride, groups=6, bias=False, padding="same")).train()
    for height, width in itertools.product((1, 2, 3, 4, 7, 8, 9), repeat=2):
        x = noise(3, 6, height, width)
        assert_as_torch(module, [x], torch.randn(module(x).shape))
    assert len(runs) >= 7  # square maps, at least


UNIT = fast(Shuffle(10, 10, 1))


class Joined(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return UNIT.joined(left, right)


@pytest.mark.parametrize("cut", [False, True])
def test_interleaving_is_a_shuffle_in_two_groups(cut, monkeypatch):
    runs = used(monkeypatch, "interleave", "deinterleave")
    both = noise(3, 10, 4, 2)
    left, right = both.chunk(2, 1)
    right = right if cut else right.contiguous(memory_format=torch.channels_last)
    assert torch.equal(Joined()(left, right), channel_shuffle(both, 2))
    assert_as_torch(Joined(), [left, right], torch.randn(3, 10, 4, 2))
    assert bool(runs) is not cut


@pytest.mark.parametrize("runs", [[16], [5, 11], [1] * 17, [16, 17, 31], [40, 3, 64, 2], [3, 33]])
@pytest.mark.parametrize("size", [(6, 7), (5, 9), (1, 1)])
def test_shifts_are_those_of_torch(runs, size):
    rng = random.Random(0)
    offsets = [Run(rng.randint(-8, 8), rng.randint(-3, 3), channels) for channels in runs]
    x, dy = noise(3, sum(runs), 6, 7).detach(), noise(3, sum(runs), 6, 7).detach()
    assert shift_applies(x) and shift_applies(dy)
    for sign in (1, -1):
        assert torch.equal(fast_moved(x, offsets, size, sign), moved(x, offsets, size, sign))
    ours, theirs = fast_corners(x, dy, offsets), corners(x.double(), dy.double(), offsets)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_shift_of_few_channels_is_torchs():
    assert shift_applies(noise(2, 16, 3, 3))
    assert not shift_applies(noise(2, 15, 3, 3))
    assert shifts._LANES == shift.LANES


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


def test_torch_computes_where_the_loops_do_not_apply():
    norm, x = nn.BatchNorm2d(4), noise(2, 4, 3, 3)
    assert batch_norm_applies(norm, x)
    assert not batch_norm_applies(norm, x.double())
    assert not batch_norm_applies(norm, x.contiguous())
    assert not batch_norm_applies(nn.BatchNorm2d(4, momentum=None), x)
    assert not batch_norm_applies(nn.BatchNorm2d(4, affine=False), x)
    assert not batch_norm_applies(nn.BatchNorm2d(4, track_running_stats=False), x)
    assert not batch_norm_applies(norm.eval(), x)
    with torch.no_grad():
        assert not batch_norm_applies(norm.train(), x)
    torch.set_num_threads(2)
    assert not batch_norm_applies(norm, x)


def test_a_map_of_one_number_a_channel_is_refused_as_torch_refuses_it():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fast(norm_act(4, "relu")).train()(noise(1, 4, 1, 1))


def test_an_input_that_was_overwritten_is_noticed():
    x = noise(2, 4, 3, 3)
    before = x * 1
    y = fast(norm_act(4, "relu")).train()(before)
    before += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_codes_are_those_of_the_loops():
    for name, code in {
        "relu": batch_norm.RELU,
        "relu6": batch_norm.RELU6,
        "hard_swish": batch_norm.HARD_SWISH,
        "prelu": batch_norm.PRELU,
    }.items():
        assert activation_code(activation(name, 4)) == code
    assert activation_code(activation("swish", 4)) == batch_norm.NONE


def test_without_a_place_for_what_is_compiled_it_is_compiled_all_the_same(monkeypatch):
    def twice(x: float) -> float:
        return 2 * x

    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit("f8(f8)", cache=True)(twice)
    assert compiled.compiled("f8(f8)")(twice)(21.0) == 42.0
