"""Blocks compute what timm's blocks of the same form compute, given the same weights; what timm has no form for is total."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference_networks import randomise
from timm.models._efficientnet_blocks import ConvBnAct, EdgeResidual, SqueezeExcite, UniversalInvertedResidual
from torch import nn
from torchvision.models._utils import _make_divisible

from search_spaces.genotype import BlockSpec
from search_spaces.network import build_block

ACTS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hard_swish": nn.Hardswish, "swish": nn.SiLU}
PADDINGS = {"symmetric": "", "same": "same"}
quick = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
widths = st.integers(1, 5).map(lambda n: 8 * n)
strides = st.sampled_from([1, 2])
sizes = st.tuples(st.integers(5, 12), st.integers(5, 12))
knobs_of = {
    "expand": st.sampled_from([1.0, 2.0, 2.5, 4.0]),
    "act": st.sampled_from(sorted(ACTS)),
    "padding": st.sampled_from(sorted(PADDINGS)),
}
uib_knobs = st.fixed_dictionaries(
    {
        **knobs_of,
        "kernel": st.sampled_from([0, 3, 5, 7]),
        "start": st.sampled_from([0, 3, 5]),
        "se": st.sampled_from([0.0, 0.25]),
    }
)
fused_knobs = st.fixed_dictionaries({**knobs_of, "kernel": st.sampled_from([3, 5])})
conv_knobs = st.fixed_dictionaries({"kernel": st.sampled_from([1, 3, 5]), "act": knobs_of["act"]})
Knobs = dict[str, Any]


def ours(kind: str, c_in: int, c_out: int, stride: int, knobs: Knobs) -> nn.Module:
    return build_block(BlockSpec.make(kind, c_out, stride, knobs), c_in, 10).double()


def agree(mine: nn.Module, theirs: nn.Module, c_in: int, size: tuple[int, int]) -> None:
    """Same outputs in training and in evaluation, with one set of weights, whose tensors are in the same order."""
    randomise(theirs.double())
    tensors = dict(zip(mine.state_dict(), theirs.state_dict().values(), strict=True))
    mine.load_state_dict(tensors)
    x = torch.randn(3, c_in, *size, dtype=torch.float64)
    for training in (False, True):
        with torch.no_grad():
            torch.testing.assert_close(mine.train(training)(x), theirs.train(training)(x))


@quick
@given(c_in=widths, c_out=widths, stride=strides, size=sizes, knobs=uib_knobs)
def test_inverted_residual_is_the_universal_inverted_bottleneck(
    c_in: int, c_out: int, stride: int, size: tuple[int, int], knobs: Knobs
) -> None:
    assume(stride == 1 or knobs["start"] or knobs["kernel"])  # timm refuses others
    squeeze = partial(SqueezeExcite, rd_ratio=knobs["se"], rd_round_fn=partial(_make_divisible, divisor=8))
    theirs = UniversalInvertedResidual(
        c_in,
        c_out,
        dw_kernel_size_start=knobs["start"],
        dw_kernel_size_mid=knobs["kernel"],
        stride=stride,
        pad_type=PADDINGS[knobs["padding"]],
        exp_ratio=knobs["expand"],
        act_layer=ACTS[knobs["act"]],
        se_layer=partial(squeeze, force_act_layer=nn.ReLU, gate_layer=nn.Hardsigmoid) if knobs["se"] else None,
        layer_scale_init_value=None,
    )
    agree(ours("inverted_residual", c_in, c_out, stride, {**knobs, "pointwise": "always"}), theirs, c_in, size)


@quick
@given(c_in=widths, c_out=widths, stride=strides, size=sizes, knobs=fused_knobs)
def test_fused_is_the_edge_residual(c_in: int, c_out: int, stride: int, size: tuple[int, int], knobs: Knobs) -> None:
    theirs = EdgeResidual(
        c_in,
        c_out,
        exp_kernel_size=knobs["kernel"],
        stride=stride,
        pad_type=PADDINGS[knobs["padding"]],
        exp_ratio=knobs["expand"],
        act_layer=ACTS[knobs["act"]],
    )
    agree(ours("fused", c_in, c_out, stride, knobs), theirs, c_in, size)


@quick
@given(c_in=widths, c_out=widths, stride=strides, size=sizes, knobs=conv_knobs)
def test_conv_is_the_convolution_of_efficientnet(
    c_in: int, c_out: int, stride: int, size: tuple[int, int], knobs: Knobs
) -> None:
    theirs = ConvBnAct(c_in, c_out, knobs["kernel"], stride, act_layer=ACTS[knobs["act"]])
    agree(ours("conv", c_in, c_out, stride, knobs), theirs, c_in, size)


@pytest.mark.parametrize("expand", [1.0, 3.0])
def test_without_a_depthwise_convolution_the_first_pointwise_one_is_strided(expand: float) -> None:
    mine = ours("inverted_residual", 8, 16, 2, {"kernel": 0, "expand": expand, "act": "relu"}).eval()
    unstrided = ours("inverted_residual", 8, 16, 1, {"kernel": 0, "expand": expand, "act": "relu"}).eval()
    unstrided.load_state_dict(mine.state_dict())
    x = torch.randn(2, 8, 7, 10, dtype=torch.float64)
    torch.testing.assert_close(mine(x), unstrided(x)[:, :, ::2, ::2])


@given(c_in=st.integers(1, 40), start=st.sampled_from([3, 5]), kernel=st.sampled_from([0, 3, 5]))
@quick
def test_a_start_that_passes_its_input_on_changes_nothing(c_in: int, start: int, kernel: int) -> None:
    grown: Any = ours("inverted_residual", c_in, 16, 1, {"kernel": kernel, "start": start}).eval()
    plain = ours("inverted_residual", c_in, 16, 1, {"kernel": kernel}).eval()
    plain.load_state_dict({name: tensor for name, tensor in grown.state_dict().items() if not name.startswith("start.")})
    nn.init.dirac_(grown.start[0].weight, groups=c_in)
    grown.start[1].eps = 0.0
    x = torch.randn(2, c_in, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(grown(x), plain(x))
