"""Every kind of block builds, runs and learns at any width, stride, size and knob value; its source is read rightly."""

import inspect
from math import ceil
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from search_spaces.blocks.eesp import dilations
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec
from search_spaces.network import build_block, run_block
from search_spaces.ops.channel_shuffle import channel_shuffle
from search_spaces.registry import Knob, Value, block_kind, block_kinds

KINDS = [name for name, kind in block_kinds().items() if not kind.has_branches]
CLASSES = 5
quick = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def knob_values(knob: Knob) -> st.SearchStrategy[Value]:
    if knob.choices:
        return st.sampled_from(knob.choices)
    numbers = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, 6.0])
    return {bool: st.booleans(), int: st.integers(0, 8), float: numbers}[knob.type]


@st.composite
def specs(draw: st.DrawFn, name: str) -> BlockSpec:
    kind = block_kind(name)
    width = draw(st.integers(1, 40)) if kind.has_width else None
    stride = draw(st.sampled_from(kind.strides))
    knobs = draw(st.fixed_dictionaries({}, optional={n: knob_values(k) for n, k in kind.knobs.items()}))
    return BlockSpec.make(name, width, stride, knobs)


def has_expected_shape(y: Tensor, spec: BlockSpec, x: Tensor) -> bool:
    """Sizes are divided by the stride and rounded up, unless padding was asked for that gives others."""
    knobs = spec.arguments()
    pads = knobs.get("padding") not in (None, "symmetric", "same") or knobs.get("ceil") or knobs.get("kernel") == 2
    expected = expected_shape(spec, x)
    return y.shape[:2] == expected[:2] and min(y.shape) > 0 if pads else y.shape == expected


def expected_shape(spec: BlockSpec, x: Tensor) -> tuple[int, ...]:
    if "classes" in block_kind(spec.kind).takes:
        return x.shape[0], CLASSES
    height, width = (ceil(size / spec.stride) for size in x.shape[2:])
    return x.shape[0], spec.width or x.shape[1], height, width


def pair(width: int, size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """A feature map and the network's input, twice as large."""
    return torch.randn(batch, width, size, size), torch.randn(batch, 3, 2 * size, 2 * size)


def run(module: nn.Module, x: Tensor, image: Tensor) -> Tensor:
    """The block's output in training mode; its parameters' gradients, and x's, are left behind."""
    y = run_block(module.train(), x.requires_grad_(), image)
    (y * torch.randn_like(y)).sum().backward()  # type: ignore[no-untyped-call]
    return y


@pytest.mark.parametrize("name", KINDS)
@quick
@given(data=st.data(), c_in=st.integers(1, 40), size=st.sampled_from([1, 2, 7, 32]))
def test_runs_and_learns_at_any_shape(name: str, data: st.DataObject, c_in: int, size: int) -> None:
    spec = data.draw(specs(name))
    try:
        module = build_block(spec, c_in, CLASSES)
    except InputError:
        reject()
    x, image = pair(c_in, size)
    assert has_expected_shape(run(module, x, image), spec, x)
    gradients = [x.grad, *(p.grad for p in module.parameters())]
    assert all(g.isfinite().all() for g in gradients if g is not None)
    with torch.no_grad():
        y = run_block(module.eval(), x[:1], image[:1])
        assert has_expected_shape(y, spec, x[:1]) and y.isfinite().all()
        assert torch.equal(y, run_block(module, x[:1], image[:1]))


@pytest.mark.parametrize("name", KINDS)
@quick
@given(data=st.data(), c_in=st.integers(1, 40))
def test_refusing_does_not_depend_on_widths(name: str, data: st.DataObject, c_in: int) -> None:
    spec = data.draw(specs(name))

    def builds(c_in: int) -> bool:
        try:
            return bool(build_block(spec, c_in, CLASSES))
        except InputError:
            return False

    assert builds(c_in) == builds(24)


@pytest.mark.parametrize("c_in, c_out", [(16, 16), (16, 48), (48, 16)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_is_used(name: str, stride: int, c_in: int, c_out: int) -> None:
    kind = block_kind(name)
    spec = BlockSpec.make(name, c_out if kind.has_width else None, stride if kind.has_stride else 1)
    module = build_block(spec, c_in, CLASSES)
    run(module, *pair(c_in, 8))
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", KINDS)
def test_knobs_read_from_the_source_are_those_of_the_class(name: str) -> None:
    kind = block_kind(name)
    init: Any = kind.load().__init__
    hints = get_type_hints(init)
    parameters = [p for p in inspect.signature(init).parameters.values() if p.name != "self"]
    knobs = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert kind.takes == tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    assert knobs == {n: k.default for n, k in kind.knobs.items()}
    assert {n: get_args(hints[n]) for n in knobs} == {n: k.choices for n, k in kind.knobs.items()}
    assert all(type(value) is kind.knobs[n].type for n, value in knobs.items())
    assert all(k.type is hints[n] for n, k in kind.knobs.items() if not k.choices)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_a_summary(name: str) -> None:
    assert block_kind(name).summary.endswith(".")


def test_channel_shuffle_takes_channels_from_the_groups_in_turn() -> None:
    x = torch.arange(7.0).view(1, 7, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5, 6]
    assert channel_shuffle(x[:, :6], 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(
    "branches, receptive_field, rates",
    [(4, 13, [1, 2, 3, 4]), (4, 9, [1, 2, 3, 4]), (4, 7, [1, 1, 2, 3]), (4, 5, [1, 1, 1, 2]), (2, 3, [1, 1])],
)
def test_dilations_of_espnet_v2(branches: int, receptive_field: int, rates: list[int]) -> None:
    assert dilations(branches, receptive_field) == rates


def test_strided_eesp_is_pooled_input_beside_fused_pyramid_plus_pooled_picture() -> None:
    module: Any = build_block(BlockSpec.make("eesp", 24, 2, {"reinforce": True}), 8, CLASSES).eval()
    x, image = pair(8, 15)
    pyramid = module.pyramid
    assert [branch.dilation[0] for branch in pyramid.branches] == [1, 1, 2, 3]
    a, b, c, d = (branch(pyramid.reduce(x)) for branch in pyramid.branches)
    new = pyramid.merge(pyramid.norm(torch.cat([a, a + b, a + b + c, a + b + c + d], 1)))
    pooled = torch.cat([avg_pool2d(x, 3, 2, 1), new], 1)
    picture = module.reinforcement(avg_pool2d(avg_pool2d(image, 3, 2, 1), 3, 2, 1))
    torch.testing.assert_close(run_block(module, x, image), module.act(pooled + picture))


def test_unused_modules_change_no_output() -> None:
    knobs: dict[str, Value] = {"reinforce": False, "authors_unused": True}
    full = build_block(BlockSpec.make("eesp", 24, 2, knobs), 8, CLASSES).eval()
    lean = build_block(BlockSpec.make("eesp", 24, 2), 8, CLASSES).eval()
    lean.load_state_dict({n: t for n, t in full.state_dict().items() if not n.startswith("unused")})
    x, image = pair(8, 8)
    assert torch.equal(run_block(full, x, image), run_block(lean, x, image))


@pytest.mark.parametrize("channels", [1, 3])
def test_reinforcement_reads_colour_and_grey_pictures(channels: int) -> None:
    module = build_block(BlockSpec.make("eesp", 24, 2, {"reinforce": True}), 8, CLASSES)
    image = torch.randn(2, channels, 57, 57, requires_grad=True)
    run_block(module, torch.randn(2, 8, 15, 15), image).sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None and image.grad.abs().sum() > 0
