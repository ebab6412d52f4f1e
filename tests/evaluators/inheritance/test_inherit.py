"""inherit: equal networks are copied, smaller ones keep what matters, whatever is built of a space comes out whole."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_donor import features, made_up_donor

from evaluators.inheritance.inherit import inherit
from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype
from search_spaces.network import build, classifier
from search_spaces.space_file import load_space
from search_spaces.task import Task

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
SMALL = Genotype.parse("""
    conv 16/2 act=relu6
    inverted_residual 8/1 expand=1 kernel=3
    inverted_residual 16/2 se=0.25
    inverted_residual 16/1 x2
    fused 24/2
    inverted_residual 24/1 kernel=5 start=3
    conv 48/1 kernel=1
    head hidden=32""")


@pytest.fixture(scope="module")
def lite():
    return made_up_donor(anchor("efficientnet_lite").genotype, classes=10)


def _equal(network, donor, but=()):
    theirs = donor.tensors
    return all(torch.equal(tensor, theirs[name]) for name, tensor in network.state_dict().items() if not name.startswith(but))


@pytest.mark.parametrize(
    "name", ["efficientnet_lite", "mobilenet_v3", "mobilenet_v1", "shufflenet_v2:0.5", "espnet_v2:0.5", "squeezenet"]
)
def test_an_equal_network_is_copied_exactly_whatever_its_input_and_classes(name):
    genotype = anchor(name).genotype
    donor = made_up_donor(genotype, classes=5)
    network = build(genotype, Task((3, 96, 160), 3))
    before = [tensor.clone() for tensor in classifier(network).parameters()]
    inherited = inherit(network, donor, 0)
    last = next(name for name, module in network.named_modules() if module is classifier(network))
    assert _equal(network, donor, last)
    assert all(torch.equal(a, b) for a, b in zip(before, classifier(network).parameters(), strict=True))
    assert inherited.share == 1 and set(inherited.by_block) == {1}


@pytest.mark.parametrize(("overall", "name"), [(8, "efficientnet_lite"), (16, "mobilenet_v3")])
def test_a_network_without_its_first_strides_is_the_same_network(overall, name):
    genotype = anchor(name).genotype
    donor = made_up_donor(genotype)
    network = build(genotype.at_stride(overall), Task((3, 32, 32), 5))
    assert inherit(network, donor, 0).share == 1


def test_another_activation_hinders_nothing():
    donor = made_up_donor(SMALL)
    network = build(Genotype.parse(SMALL.text.replace("act=relu6", "act=hard_swish")), donor.task)
    assert inherit(network, donor, 0).share == 1


def test_grey_images_are_read_as_equal_colours():
    donor = made_up_donor(SMALL)
    network = build(SMALL, Task((1, 64, 64), 5))
    assert inherit(network, donor, 0).share == 1
    grey = torch.randn(3, 1, 64, 64)
    torch.testing.assert_close(
        features(network, grey), features(donor.network(), grey.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3
    )


def test_colours_are_read_as_their_mean_by_a_donor_of_grey_images():
    donor = made_up_donor(SMALL, channels=1)
    network = build(SMALL, Task((3, 64, 64), 5))
    assert inherit(network, donor, 0).share == 1
    torch.testing.assert_close(
        features(network, IMAGES), features(donor.network(), IMAGES.mean(1, keepdim=True)), rtol=1e-3, atol=1e-3
    )


def test_channels_that_do_nothing_are_the_first_to_go():
    """A donor with silent channels everywhere, cut to those that are left, computes the same."""
    wide, slim = map(_cut, ((12, 20, 40), (8, 16, 24)))
    donor = made_up_donor(wide)
    for layer in ("0.layers", "1.layers.2", "2.layers.2", "3.layers.2", "4.layers"):  # whose outputs are a stream
        _silence(donor, f"blocks.{layer}.1.weight", f"blocks.{layer}.1.bias")
    for block in (1, 2, 3):  # whose middle channels are not read
        weight = donor.tensors[f"blocks.{block}.layers.2.0.weight"]
        weight[:, SLIM[weight.shape[1]] :] = 0
    network = build(slim, donor.task)
    assert inherit(network, donor, 0).share == 1
    torch.testing.assert_close(features(network, IMAGES), features(donor.network(), IMAGES), rtol=1e-3, atol=1e-4)


SLIM = {12: 8, 20: 16, 40: 24, 48: 32, 80: 64}


def _cut(widths):
    a, b, c = widths
    middle = f"inverted_residual {b}/2 expand=4\ninverted_residual {b}/1 expand=4 x2"
    return Genotype.parse(f"conv {a}/2\n{middle}\nconv {c}/1 kernel=1\nhead hidden=8")


def _silence(donor, *names):
    """Zeros for some channels, the same ones along a stream."""
    for name in names:
        width = len(donor.tensors[name])
        order = torch.randperm(width, generator=torch.Generator().manual_seed(width))
        donor.tensors[name][order[SLIM[width] :]] = 0


def test_kernels_are_cropped_about_their_centre():
    donor = made_up_donor(Genotype.parse("conv 8/2\ninverted_residual 8/1 kernel=5\nhead"))
    network = build(Genotype.parse("conv 8/2\ninverted_residual 8/1 kernel=3\nhead"), donor.task)
    assert inherit(network, donor, 0).share == 1
    assert torch.equal(network.blocks[1].layers[1][0].weight, donor.tensors["blocks.1.layers.1.0.weight"][:, :, 1:4, 1:4])


def test_the_first_repeats_are_kept():
    donor = made_up_donor(Genotype.parse("conv 8/2\ninverted_residual 8/2 x1\ninverted_residual 8/1 x3\nhead"))
    network = build(Genotype.parse("conv 8/2\ninverted_residual 8/2 x1\ninverted_residual 8/1 x2\nhead"), donor.task)
    assert inherit(network, donor, 0).share == 1
    assert _equal(network, donor, "blocks.4")


def test_what_the_donor_has_no_counterpart_of_stays_as_it_was_built():
    donor = made_up_donor(SMALL)
    genotype = Genotype.parse("conv 16/2\nshuffle 16/2\neesp 24/2\nconv 48/1 kernel=1\nhead hidden=24")
    network = build(genotype, donor.task)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inherited = inherit(network, donor, 0)
    assert inherited.by_block == (1, 0, 0, 1, 0) and 0 < inherited.share < 1
    kept = [name for name in before if name.startswith(("blocks.1", "blocks.2", "blocks.4"))]
    assert kept and all(torch.equal(network.state_dict()[name], before[name]) for name in kept)
    assert {m.eps for m in network.blocks[3].modules() if hasattr(m, "eps")} == {donor.norm_eps}
    assert {m.eps for m in network.blocks[1].modules() if hasattr(m, "eps")} == {1e-5}


def test_a_donor_of_another_family_gives_nothing():
    donor = made_up_donor(Genotype.parse("shuffle 24/2\nshuffle 24/1\nhead"))
    network = build(Genotype.parse("conv 8/2\ninverted_residual 8/1\nhead"), donor.task)
    inherited = inherit(network, donor, 0)
    assert inherited.share == 0 and inherited.by_block[:2] == (0, 0)


def test_zeros_that_are_added_are_not_inherited():
    donor = made_up_donor(Genotype.parse("conv 8/2\ninverted_residual 8/1 expand=1\nhead"))
    network = build(Genotype.parse("conv 8/2\ninverted_residual 8/1 expand=1 kernel=5 start=3 x2\nhead"), donor.task)
    block = sum(p.numel() for p in network.blocks[1].parameters())
    start, padded, silent = 8 * 9 + 16, 8 * (25 - 9), 16
    expected = [1, (block - start - padded) / block, (block - start - padded - silent) / block, 1]
    assert inherit(network, donor, 0).by_block == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "side"), [("mobile", 64), ("tiny", 32)])
def test_whatever_a_space_holds_comes_out_whole(lite, space, side):
    rng = random.Random(0)
    for seed in range(50):
        genotype = load_space(space).sample(rng)
        network = build(genotype, Task((3, side, side), 4))
        inherited = inherit(network, lite, seed)
        with torch.no_grad():
            logits = network.eval()(torch.randn(2, 3, side, side))
        assert logits.isfinite().all() and 0 < inherited.share <= 1
        assert all(0 <= share <= 1 for share in inherited.by_block)
        _assert_bottlenecks_inherited(genotype, inherited)


def _assert_bottlenecks_inherited(genotype, inherited):
    """The donor has inverted residuals at every resolution: there is none that does not inherit most of its parameters."""
    for spec, share in zip(genotype.blocks, inherited.by_block, strict=True):
        if spec.kind == "inverted_residual" and not spec.knob("se"):
            assert share > 0.2, spec.line


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_any_donor_of_a_space_serves_any_network_of_it(seed):
    rng, space = random.Random(seed), load_space("tiny")
    donor = made_up_donor(space.sample(rng), seed)
    network = build(space.sample(rng), Task((3, 32, 32), 4))
    inherited = inherit(network, donor, seed)
    with torch.no_grad():
        assert network.eval()(torch.randn(2, 3, 32, 32)).isfinite().all()
    assert 0 <= inherited.share <= 1


def test_the_same_seed_gives_the_same_weights(lite):
    genotype = load_space("mobile").sample(random.Random(5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = build(genotype, Task((3, 64, 64), 4))
        torch.manual_seed(0)
        second = build(genotype, Task((3, 64, 64), 4))
    inherit(first, lite, 7)
    torch.manual_seed(99)
    inherit(second, lite, 7)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
