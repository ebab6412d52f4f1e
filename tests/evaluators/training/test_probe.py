"""The linear probe: scikit-learn's ridge regression, true leave-one-out, and a network that begins as the probe."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV
from torch import nn

from evaluators.training.batches import Batches
from evaluators.training.metrics import evaluate
from evaluators.training.probe import _PENALTIES, begin_head, features, probe, ridge
from search_spaces.genotype import Genotype
from search_spaces.network import build, classifier
from search_spaces.task import Task

CPU = torch.device("cpu")
CLASSES = 4


def _data(n, width, seed=0):
    """Features [n, width], some constant or far from zero, and labels that they tell in part."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, n - CLASSES)])
    found = rng.normal(size=(n, width)) * rng.uniform(0.1, 10, width) + rng.uniform(-5, 5, width)
    found[:, 0] = 3.0
    found[:, 1 : 1 + CLASSES] += 2 * np.eye(CLASSES)[labels]
    return torch.from_numpy(found), torch.from_numpy(labels)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "width"), [(60, 12), (40, 70)])
def test_weights_and_penalty_are_those_of_scikit_learn(n, width, intercept):
    found, labels = _data(n, width)
    fitted = ridge(found, labels, CLASSES, intercept)
    middle = found.mean(0) if intercept else torch.zeros(width)
    spread = (found - middle).square().mean(0).sqrt()
    spread[0] = spread[0] or 1.0
    scaled, targets = (found - middle) / spread, F.one_hot(labels, CLASSES).double()
    theirs = RidgeCV([n * penalty for penalty in _PENALTIES], fit_intercept=intercept).fit(scaled, targets)
    assert theirs.alpha_ == pytest.approx(n * fitted.penalty)
    expected = torch.from_numpy(theirs.predict(scaled))
    answers = F.linear(found, fitted.weight, fitted.bias)
    assert (fitted.bias is not None) == intercept
    if intercept:  # without one, a constant feature is of use to scikit-learn's
        torch.testing.assert_close(answers, expected)


@settings(max_examples=15)
@given(n=st.integers(8, 30), width=st.integers(6, 40), seed=st.integers(0, 99), intercept=st.booleans())
def test_leave_one_out_leaves_one_out(n, width, seed, intercept):
    found, labels = _data(n, width, seed)
    fitted = ridge(found, labels, CLASSES, intercept)
    middle = found.mean(0) if intercept else torch.zeros(width)
    spread = (found - middle).square().mean(0).sqrt()
    scaled, targets = (found - middle)[:, 1:] / spread[1:], F.one_hot(labels, CLASSES).double()
    scaled = scaled if intercept else torch.cat([torch.ones(n, 1), scaled], 1)
    for i in (0, n - 1):
        rest = np.arange(n) != i
        model = Ridge(n * fitted.penalty, fit_intercept=intercept).fit(scaled[rest], targets[rest])
        expected = torch.from_numpy(model.predict(scaled[i : i + 1]))[0]
        torch.testing.assert_close(fitted.left_out[i], expected, atol=1e-5, rtol=1e-5)


def _images(n=90, seed=0):
    """Noisy images whose class is the brightest channel."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 200, (n, 3, 16, 16)).astype(np.uint8)
    images[np.arange(n), labels] += 20
    return Batches(images, labels, (0.4,) * 3, (0.25,) * 3, CPU)


HEADS = [
    "head dropout=0.3",
    "head bias=no",
    "head hidden=20 dropout=0.2",
    "head pool=2",
    "head pixelwise=yes act=none",
    "head pixelwise=yes act=relu dropout=0.5",
    "head pixelwise=yes",
    "head pixelwise=yes act=none bias=no",
]


def _network(head):
    torch.manual_seed(0)
    network = build(Genotype.parse(f"conv 16/2\ninverted_residual 24/2\n{head}"), Task((3, 16, 16), 3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.0, 1.0)
    return network.eval()


@pytest.mark.parametrize("head", HEADS)
def test_a_network_begins_as_its_probe(head):
    network, train, validation = _network(head), _images(), _images(30, seed=1)
    begun = probe(network, train, validation, batch_size=40)
    begin_head(network, begun)
    found, _, _ = features(network, validation, torch.arange(30), 30)
    with torch.no_grad():
        logits = network(next(validation.in_order(30))[0])
    torch.testing.assert_close(logits.log_softmax(1), begun.logits(found).log_softmax(1), atol=1e-4, rtol=1e-4)
    assert begun.validation == evaluate(network, validation) and begun.images == 90
    assert begun.scores.top1 > 0.6 and begun.validation.top1 > 0.6
    assert (begun.bias is None) == ("bias=no" in head) and begun.weight.shape[1] == classifier(network).weight.shape[1]


def test_the_softmax_of_a_probe_knows_what_it_knows():
    """Where features say nothing, no class is certain; its cross-entropy is hardly above that of guessing."""
    images = _images()
    noise = Batches(
        images.images.numpy(), images.labels.numpy()[np.random.default_rng(0).permutation(90)], (0.4,) * 3, (0.25,) * 3, CPU
    )
    network = _network("head")
    begin_head(network, probe(network, noise))
    shown, labels = next(noise.in_order(90))
    with torch.no_grad():
        assert F.cross_entropy(network(shown), labels) < 1.2
    begun = probe(network, images)
    begin_head(network, begun)
    with torch.no_grad():
        assert F.cross_entropy(network(shown), images.labels) < 0.8


def test_at_most_so_many_images_are_used_of_each_class_its_share():
    uneven = _images(96)
    uneven.labels[:48] = 0
    seen = []
    network = _network("head")
    in_order = Batches.in_order

    class Counted(Batches):
        def in_order(self, batch_size, among=None):
            seen.append(self.labels[among].bincount(minlength=3))
            return in_order(self, batch_size, among)

    counted = Counted(uneven.images.numpy(), uneven.labels.numpy(), (0.4,) * 3, (0.25,) * 3, CPU)
    assert probe(network, counted, most=48).images == 48
    assert (seen[0] - counted.labels.bincount() / 2).abs().max() <= 0.5
