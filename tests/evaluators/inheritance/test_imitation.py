"""Imitation: blocks fitted to a donor's features in closed form, against scikit-learn's ridge and over every kind of block."""

import numpy as np
import pytest
import torch
from every_block import every_block
from made_up_donor import features, made_up_donor
from sklearn.linear_model import Ridge

from evaluators.inheritance.imitation import _PENALTIES, _Last, imitate
from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.statistics import calibrated, estimate_statistics
from search_spaces.genotype import Genotype
from search_spaces.network import build, run_block
from search_spaces.ops.conv import conv_bn_act

DONOR = Genotype.parse(
    "conv 16/2 act=relu6\ninverted_residual 24/2 expand=4\ninverted_residual 24/1 expand=4\ninverted_residual 40/2 expand=4\n"
    "inverted_residual 40/1 expand=4\nhead"
)


def _images(n=48, seed=0):
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def _begun(text, seed=0):
    """A network that has inherited, the calibrated donor's network, the images, and what was inherited."""
    donor = calibrated(made_up_donor(DONOR), _images())
    torch.manual_seed(seed)
    genotype = Genotype.parse(text)
    network = build(genotype, genotype.at((3, 32, 32)).task(5)).eval()
    return network, donor.network(), inherit(network, donor, seed)


def test_the_fit_is_the_ridge_regression_from_the_present_weights_that_held_out_images_choose():
    torch.manual_seed(0)
    layers = conv_bn_act(12, 6).eval()
    reads = [torch.randn(8, 12, 4, 4) for _ in range(2)]
    truth = torch.randn(6, 12)
    wanted = [torch.einsum("oc,nchw->nohw", truth, x).permute(0, 2, 3, 1).flatten(0, 2) for x in reads]
    wanted = [y + 0.5 * torch.randn_like(y) for y in wanted]
    last = _Last.of(torch.nn.Sequential(layers))
    assert last is not None
    with torch.no_grad():
        present, rows = last.matrix.clone(), last.rows(reads)
        found = last.fit(reads, wanted)
    fit = np.concatenate([r[: len(r) - len(r) // 4].numpy() for r in rows])
    goal = np.concatenate([w[: len(w) - len(w) // 4].numpy() for w in wanted])
    mean_square = float(((fit - fit.mean(0)) ** 2).sum(0).mean())
    expected = []
    for penalty in _PENALTIES:
        ridge = Ridge(alpha=penalty * mean_square).fit(fit, goal - fit @ present.detach().numpy().T)
        expected.append((ridge.coef_ + present.detach().numpy(), ridge.intercept_))
    with torch.no_grad():
        gives = torch.cat([layers(x).permute(0, 2, 3, 1).flatten(0, 2) for x in reads]).numpy()
    answers = [np.concatenate([r.numpy() for r in rows]) @ weight.T + shift for weight, shift in expected]
    assert min(np.abs(gives - answer).max() for answer in answers) < 1e-3
    assert found.after < found.before and found.after < 0.2


@pytest.mark.parametrize("name", every_block())
def test_every_kind_of_block_comes_nearer_to_its_goal_or_stays(name):
    text = f"conv 16/2 act=relu6\ninverted_residual 24/2 expand=2\n{every_block()[name]}\nhead"
    network, donor, inherited = _begun(text)
    before = [p.clone() for p in network.blocks[2].parameters()]
    found = imitate(network, donor, _images(), inherited.goals)
    assert all(f.after <= f.before for f in found.values())
    if 2 not in found:
        assert all(torch.equal(a, b) for a, b in zip(before, network.blocks[2].parameters(), strict=True))
    assert torch.isfinite(network(_images(4, 1))).all()


@pytest.mark.parametrize("name", every_block())
def test_a_layer_that_is_fitted_gives_the_channels_of_its_block_where_it_is_said_to(name):
    block = build(
        Genotype.parse(f"conv 24/1\n{every_block()[name]}\nhead"), Genotype.parse("input 3x32x32\nhead").task(5)
    ).blocks[1]
    block.eval()
    x, image = torch.randn(2, 24, 16, 16), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        last = _Last.of(block)
        if last is None or (places := last.places(block, x, image)) is None:
            return
        last.convolution.weight.zero_()
        left = run_block(block, x, image)[:, places]
        left = left - x[:, places] if getattr(block, "adds", False) else left
    assert len(places.unique()) == last.convolution.out_channels and float(left.var((0, 2, 3)).max()) < 1e-6


@pytest.mark.parametrize(
    "narrow",
    [
        "conv 16/2 act=relu6\ninverted_residual 16/2 expand=2\ninverted_residual 32/2 expand=2\nhead",
        "conv 16/2 act=relu6\ncsc 24/2\ncsc 40/2\ncsc 40/1\nhead",
        "conv 16/2 act=relu6\nfe 24/2\ninverted_residual 40/2 expand=2\nhead",
    ],
)
def test_features_tell_more_of_the_donor_s_than_without(narrow):
    """How much of the donor's pooled features a linear map of the network's explains, on other images."""
    explained = {}
    for imitating in (False, True):
        network, donor, inherited = _begun(narrow)
        if imitating:
            imitate(network, donor, _images(), inherited.goals)
        else:
            estimate_statistics(network, _images())
        fit, test = _images(256, 2), _images(128, 3)
        ridge = Ridge(1.0).fit(features(network, fit).numpy(), features(donor, fit).numpy())
        explained[imitating] = ridge.score(features(network, test).numpy(), features(donor, test).numpy())
    assert explained[True] > explained[False]


@pytest.mark.parametrize("value", [0.0, -1.0, 2.2])
@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_constant_channels_leave_weights_finite(value, side, channels):
    images = torch.randn(12, 3, side, side, generator=torch.Generator().manual_seed(0))
    images[:, :channels] = value
    donor = calibrated(made_up_donor(DONOR), images)
    network = build(DONOR, DONOR.at((3, side, side)).task(5)).eval()
    inherited = inherit(network, donor, 0)
    imitate(network, donor.network(), images, inherited.goals)
    assert all(torch.isfinite(p).all() for p in network.state_dict().values())
    for training in (False, True):
        assert torch.isfinite(network.train(training)(images)).all()


def test_the_donor_s_own_network_stays_as_it_is():
    network, donor, inherited = _begun(DONOR.text)
    given = features(network, _images(8, 1))
    imitate(network, donor, _images(), inherited.goals)
    torch.testing.assert_close(features(network, _images(8, 1)), given, rtol=2e-2, atol=2e-2)
