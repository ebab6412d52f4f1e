"""What a block is taken for: its linear map where activations pass everything, the moments of its outputs, fused forms."""

import pytest
import torch
from made_up_donor import features, made_up_donor

from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.parts import parts_of
from evaluators.inheritance.statistics import estimate_statistics
from search_spaces.genotype import Genotype
from search_spaces.network import build

IMAGES = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "line", ["inverted_residual 10/1 start=3", "inverted_residual 10/1 se=0.5 expand=1", "fused 10/1", "conv 10/1"]
)
def test_the_linear_map_is_what_a_block_does_to_constant_maps(line):
    """Without activations, but for gates, which stay where they are."""
    block = made_up_donor(Genotype.parse(f"{line} act=none\nhead"), channels=6).network().blocks[0]
    parts = parts_of(block)
    if parts.squeeze is not None:
        torch.nn.init.zeros_(parts.squeeze.gate[2].weight)
    step = torch.randn(6, generator=torch.Generator().manual_seed(0))
    maps = (step * torch.tensor([[0.0], [1.0]]))[:, :, None, None].expand(-1, -1, 15, 15)
    zero, one = block(maps)[:, :, 7, 7].detach()
    torch.testing.assert_close(one - zero, parts.linear_map @ step, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("act", ["relu", "relu6", "hard_swish", "swish", "none"])
def test_moments_of_outputs_are_those_of_many_draws(act):
    layer = parts_of(made_up_donor(Genotype.parse(f"conv 16/1 act={act}\nhead")).network().blocks[0]).project
    shift, scale = layer.norm.bias.detach(), layer.norm.weight.detach()
    draws = shift + scale * torch.randn(200_000, 16, generator=torch.Generator().manual_seed(0))
    values = draws if layer.act is None else layer.act(draws.clone())
    torch.testing.assert_close(layer.outputs.mean, values.mean(0), rtol=0.03, atol=0.03)
    torch.testing.assert_close(layer.outputs.deviation, values.std(0), rtol=0.06, atol=0.03)


def test_a_fused_block_is_a_depthwise_one_whose_kernels_are_on_the_diagonal():
    donor = made_up_donor(Genotype.parse("conv 8/2\ninverted_residual 12/2 expand=1 act=relu\nhead hidden=8"))
    network = build(Genotype.parse("conv 8/2\nfused 12/2 expand=1 kernel=5\nhead hidden=8"), donor.task)
    assert inherit(network, donor, 0).share < 1
    torch.testing.assert_close(features(network, IMAGES), features(donor.network(), IMAGES), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [("fused", "inverted_residual"), ("inverted_residual", "fused")])
def test_the_fused_form_and_the_other_give_each_other_a_start(ours, theirs):
    """The donor's features can be told from the network's, linearly, better than from those of one that was just built."""
    text = "conv 8/2 act=relu6\n{} 16/2 expand=4 act=relu6\nhead hidden=8 act=none"
    donor = made_up_donor(Genotype.parse(text.format(theirs)))
    images = torch.randn(256, 3, 16, 16).cumsum(2).cumsum(3) / 8
    blank, network = (build(Genotype.parse(text.format(ours)), donor.task) for _ in range(2))
    assert inherit(network, donor, 0).share > 0.2
    for each in (blank, network):
        estimate_statistics(each, images)
    wanted = features(donor.network(), images)
    assert _residual(features(network, images), wanted) < _residual(features(blank, images), wanted)


def _residual(features, wanted):
    """Share of the variance that the best linear map leaves."""
    design = torch.cat([features, torch.ones(len(features), 1)], 1)
    left = wanted - design @ torch.linalg.lstsq(design, wanted).solution
    return float(left.var(0).sum() / wanted.var(0).sum())
