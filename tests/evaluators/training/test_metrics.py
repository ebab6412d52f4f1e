"""Metrics: the scores of a confusion matrix are scikit-learn's, and a training reports the one that it is asked for."""

import warnings
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score
from torch import nn

from evaluators.training.batches import Batches
from evaluators.training.loop import Training, accuracy, seeded_network
from evaluators.training.metrics import confusion, evaluate, scores
from evaluators.training.recipe import Metric, load_recipe
from search_spaces.genotype import Genotype
from search_spaces.task import Task

CPU = torch.device("cpu")
CLASSES = 5


@given(pairs=st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40))
def test_scores_are_those_of_scikit_learn(pairs):
    labels, predicted = torch.tensor(pairs).T
    counts = confusion(labels, predicted, CLASSES)
    assert counts.numpy().tolist() == confusion_matrix(labels, predicted, labels=range(CLASSES)).tolist()
    found = scores(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of classes that are predicted but not there
        assert found.top1 == pytest.approx(accuracy_score(labels, predicted))
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
        assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


class Brightest(nn.Module):
    def forward(self, x):
        assert not self.training
        return x.mean((2, 3))


def _uneven(n=60):
    """Images of three classes, six of ten of the first; the brightest channel tells most of them."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2] * (n // 10))
    images = rng.integers(0, 100, (n, 3, 8, 8)).astype(np.uint8)
    images[np.arange(n), np.where(rng.random(n) < 0.8, labels, 0)] += 60
    return Batches(images, labels, (0.4,) * 3, (0.25,) * 3, CPU)


def test_evaluate_sees_every_image_once():
    images = _uneven()
    found = evaluate(Brightest(), images, batch_size=7)
    predicted = images.images.float().mean((2, 3)).argmax(1)
    assert found == scores(confusion(images.labels, predicted, 3))
    assert found.top1 == accuracy(Brightest(), images) > found.balanced_accuracy


@pytest.mark.parametrize("metric", get_args(Metric))
def test_a_training_reports_the_metric_that_it_is_asked_for(metric):
    network, generator = seeded_network(Genotype.parse("conv 8/2\nhead"), Task((3, 8, 8), 3), 0, CPU)
    recipe = replace(load_recipe("final"), epochs=2, least_images=0, batch_size=16)
    training = Training(network, _uneven(), _uneven(), recipe, generator, metric=metric)
    epoch = training.epoch()
    assert epoch.accuracy == epoch.scores[metric] == getattr(evaluate(network, _uneven()), metric)
    assert set(epoch.scores) == set(get_args(Metric))
