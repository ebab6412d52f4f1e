"""Batch-norm statistics are those of torch's update_bn; unit variance and calibration leave the function alone."""

import pytest
import torch
from made_up_donor import features, made_up_donor
from torch import nn
from torch.optim.swa_utils import update_bn

from evaluators.inheritance.inherit import inherit
from evaluators.inheritance.statistics import batch_size, calibrated, estimate_statistics, unit_variance
from search_spaces.genotype import Genotype
from search_spaces.network import build

GENOTYPE = Genotype.parse("""
    conv 12/2 act=relu6 padding=same
    inverted_residual 8/1 expand=1
    inverted_residual 16/2 se=0.25 start=3
    inverted_residual 16/1 act=swish
    fused 24/2
    conv 48/1 kernel=1 bias=yes
    head hidden=32 norm=yes dropout=0.5""")
IMAGES = torch.randn(300, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 + 1


def _norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_statistics_are_those_of_update_bn():
    donor = made_up_donor(GENOTYPE)
    ours, theirs = donor.network(), donor.network()
    estimate_statistics(ours, IMAGES)
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    update_bn(IMAGES.tensor_split(3), theirs)
    for norm, other in zip(_norms(ours), _norms(theirs), strict=True):
        torch.testing.assert_close(norm.running_mean, other.running_mean, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm.running_var, other.running_var, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("change", [estimate_statistics, unit_variance])
def test_every_module_ends_in_the_mode_it_was_in(change, training):
    network = made_up_donor(GENOTYPE).network().train(training)
    network.blocks[2].train(not training)
    modes = [module.training for module in network.modules()]
    momenta = [norm.momentum for norm in _norms(network)]
    change(network, IMAGES[:16])
    assert [module.training for module in network.modules()] == modes
    assert [norm.momentum for norm in _norms(network)] == momenta
    assert not any(module._forward_hooks for module in network.modules())


def test_an_identity_stays_one_in_eval_mode_and_in_training():
    donor = made_up_donor(Genotype.parse("conv 8/2\ninverted_residual 8/1\nhead hidden=8"))
    network = build(Genotype.parse("conv 8/2\ninverted_residual 8/1 start=5\nhead hidden=8"), donor.task)
    inherit(network, donor, 0)
    for _ in range(2):
        estimate_statistics(network, IMAGES)
    x = network.blocks[0](IMAGES).detach()
    start = network.blocks[1].start
    torch.testing.assert_close(start.eval()(x), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(start.train()(x), x, rtol=0.02, atol=0.02)
    assert start[1].running_var.min() > 0 and start[1].running_mean.abs().min() > 0


def _folded(donor):
    """Its batch norms are merged into convolutions of wild norms, as 8-bit models have them."""
    network = donor.network()
    for norm in _norms(network):
        nn.init.zeros_(norm.running_mean)
        nn.init.constant_(norm.running_var, 1 - norm.eps)
        nn.init.ones_(norm.weight)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            with torch.no_grad():
                module.weight *= torch.logspace(-2, 2, len(module.weight))[:, None, None, None]
                module.weight[0] = 0
    return network


def test_unit_variance_leaves_the_function_and_tames_the_weights():
    network = _folded(made_up_donor(GENOTYPE))
    before, norms = features(network, IMAGES), _spread(network)
    unit_variance(network, IMAGES)
    torch.testing.assert_close(features(network, IMAGES), before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    assert _spread(network) < norms / 100
    seen = network.blocks[0].layers[0](IMAGES)[:, 1:].var((0, 2, 3))
    torch.testing.assert_close(seen, torch.ones(11), rtol=0.02, atol=0.02)


def _spread(network):
    norms = network.blocks[3].layers[0][0].weight.detach().flatten(1).norm(dim=1)[1:]
    return float(norms.max() / norms.min())


def test_after_unit_variance_training_mode_computes_what_eval_mode_does():
    network = _folded(made_up_donor(GENOTYPE))
    unit_variance(network, IMAGES)
    layers = network.blocks[0].layers
    expected = layers.eval()(IMAGES).detach()
    torch.testing.assert_close(layers.train()(IMAGES), expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


def test_a_calibrated_donor_has_its_function_and_keeps_it_with_statistics_anew():
    donor = made_up_donor(GENOTYPE)
    network = build(GENOTYPE, donor.task)
    inherit(network, calibrated(donor, IMAGES), 0)
    before = features(donor.network(), IMAGES)
    torch.testing.assert_close(features(network, IMAGES), before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    estimate_statistics(network, IMAGES)
    assert (features(network, IMAGES) - before).abs().max() < 0.05 * before.abs().max()
    plain = donor.network()
    estimate_statistics(plain, IMAGES)
    assert (features(plain, IMAGES) - before).abs().max() > 0.2 * before.abs().max()


@pytest.mark.parametrize(("side", "most"), [(32, 128), (96, 128), (224, 20), (512, 8)])
def test_batches_are_smaller_where_images_are_larger(side, most):
    assert batch_size(torch.empty(1, 3, side, side, device="meta")) <= most
