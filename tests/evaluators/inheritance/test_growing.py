"""A network that grew out of a donor (wider, deeper, larger kernels, more parts) computes what the donor does."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_donor import features, made_up_donor

from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.statistics import estimate_statistics
from search_spaces.genotype import Genotype
from search_spaces.network import build

IMAGES = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
ACTS = ("relu", "relu6", "hard_swish", "swish")


def _stage(rng, width, stride, depth, start, squeeze):
    """The lines of a stage of inverted bottlenecks, as dictionaries: what a block is."""
    shared = {"kernel": rng.choice((3, 5)), "act": rng.choice(ACTS), "se": squeeze, "start": start}
    fused = rng.random() < 0.25
    stage = []
    for layer in range(depth):
        block = {"kind": "fused" if fused else "inverted_residual", "width": width, "stride": stride if layer == 0 else 1}
        block |= {"expand": rng.choice((2, 3, 4)), **shared}
        stage.append({k: v for k, v in block.items() if not fused or k not in ("se", "start")})
    return stage


def _grown(rng, stage, widen):
    """The same stage wider, deeper, with larger kernels and expansions, squeeze-and-excitation, a first depthwise layer."""
    deeper = stage + [dict(stage[-1], stride=1)] * rng.choice((0, 0, 1, 2))
    kernel = min(5 if stage[0]["kind"] == "fused" else 7, stage[0]["kernel"] + rng.choice((0, 2)))
    change = {"kernel": kernel, "width": stage[0]["width"] + widen}
    if stage[0]["kind"] != "fused":
        change |= {"se": stage[0]["se"] or rng.choice((0, 0.25, 0.5)), "start": stage[0]["start"] or rng.choice((0, 3, 5))}
    return [dict(block, **change, expand=block["expand"] + rng.choice((0, 0.5, 1))) for block in deeper]


def _text(stem, stages, last, hidden):
    lines = [f"conv {stem}/2 act=relu6"]
    for block in (block for stage in stages for block in stage):
        knobs = " ".join(
            f"{name}={value:g}" if name != "act" else f"act={value}"
            for name, value in block.items()
            if name not in ("kind", "width", "stride")
        )
        lines.append(f"{block['kind']} {block['width']}/{block['stride']} {knobs}")
    return "\n".join([*lines, f"conv {last}/1 kernel=1 act=hard_swish", f"head hidden={hidden} dropout=0.2"])


def _pair(seed):
    """A small random genotype, and one that it grows into."""
    rng = random.Random(seed)
    stem, hidden = rng.choice((8, 12)), rng.choice((0, 24))
    plan = [(16, 2), (24, 2), (32, 1), (40, 2)][: rng.choice((2, 3, 4))]
    small = [
        _stage(rng, width, stride, rng.choice((1, 2)), rng.choice((0, 3)), rng.choice((0, 0.25))) for width, stride in plan
    ]
    large = [_grown(rng, stage, 12 * i + rng.choice((0, 4, 8))) for i, stage in enumerate(small)]
    last = rng.choice((32, 48))
    texts = _text(stem, small, last, hidden), _text(stem + rng.choice((0, 3)), large, last + rng.choice((0, 5, 64)), hidden)
    return [Genotype.parse(text) for text in texts]


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_growing_leaves_the_function_unchanged(seed):
    small, large = _pair(seed)
    donor = made_up_donor(small, seed)
    network = build(large, donor.task)
    inherited = inherit(network, donor, seed)
    _assert_copies(features(network, IMAGES), features(donor.network(), IMAGES))
    assert inherited.share > 0.3


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_so_do_new_statistics(seed):
    small, large = _pair(seed)
    donor = made_up_donor(small, seed)
    network, source = build(large, donor.task), donor.network()
    inherit(network, donor, seed)
    estimate_statistics(network, IMAGES)
    estimate_statistics(source, IMAGES)
    _assert_copies(features(network, IMAGES), features(source, IMAGES))


def _assert_copies(ours, theirs):
    """The donor's features come first; what follows are copies of them."""
    torch.testing.assert_close(ours[:, : theirs.shape[1]], theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
    nearest = (ours.T[:, None] - theirs.T[None]).abs().amax(2).amin(1)
    assert nearest.max() < 1e-3 * theirs.abs().max()
    assert theirs.std(0).max() > 1e-3


def test_copies_of_a_channel_are_read_at_shares_of_their_own():
    small = Genotype.parse("conv 8/2\nconv 16/1 kernel=1\nhead hidden=8")
    large = Genotype.parse("conv 16/2\nconv 16/1 kernel=1\nhead hidden=8")
    donor = made_up_donor(small)
    network = build(large, donor.task)
    inherit(network, donor, 0)
    first, copy = network.blocks[1].layers[0].weight[:, :8, 0, 0], network.blocks[1].layers[0].weight[:, 8:, 0, 0]
    share = (first / donor.tensors["blocks.1.layers.0.weight"][:, :, 0, 0]).detach()
    assert 0.2 < share.min() < 0.4 and 0.6 < share.max() < 0.8 and share.std(0).min() > 0.05
    assert len(copy) == 16
    other = build(large, donor.task)
    inherit(other, donor, 1)
    assert not torch.equal(other.blocks[1].layers[0].weight, network.blocks[1].layers[0].weight)


def test_new_gates_and_identities_learn():
    small = Genotype.parse("conv 8/2\ninverted_residual 8/1 expand=2\nhead hidden=8")
    large = Genotype.parse("conv 8/2\ninverted_residual 8/1 expand=2 se=0.5 start=3 x2\nhead hidden=8")
    donor = made_up_donor(small)
    network = build(large, donor.task)
    inherit(network, donor, 0)
    network.train()(IMAGES).square().sum().backward()
    gates = network.blocks[1].layers[2].gate
    assert gates[2].weight.grad.abs().max() > 0 and network.blocks[2].layers[3][1].weight.grad.abs().max() > 0
    assert network.blocks[1].start[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("act", ["relu", "relu6"])
def test_an_expansion_that_the_donor_lacks_begins_as_copies_of_activated_channels(act):
    small = Genotype.parse(f"conv 8/2 act={act}\ninverted_residual 12/1 expand=1 act={act}\nhead hidden=8")
    large = Genotype.parse(f"conv 12/2 act={act}\ninverted_residual 16/1 expand=2 act={act}\nhead hidden=8")
    donor = made_up_donor(small)
    network = build(large, donor.task)
    inherit(network, donor, 0)
    _assert_copies(features(network, IMAGES), features(donor.network(), IMAGES))
