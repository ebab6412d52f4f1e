"""Fine-tuning: a network begins as good as its probe, and a donor with folded batch norms does not make it diverge."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.inheritance.donor import Donor
from evaluators.training.batches import Batches
from evaluators.training.finetune import Beginnings
from evaluators.training.loop import Training, seeded_network
from evaluators.training.metrics import evaluate
from evaluators.training.recipe import load_recipe
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

CPU = torch.device("cpu")
GENOTYPE = Genotype.parse("conv 8/1 act=relu6\ninverted_residual 16/2 expand=3\ninverted_residual 16/1 expand=3\nhead")


def _images(classes, n=120, seed=0):
    """Noisy images whose class is the direction of a wave."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    rows, columns = np.mgrid[:12, :12]
    angle = (np.pi * labels / classes)[:, None, None]
    waves = np.sin(1.5 * (np.cos(angle) * rows + np.sin(angle) * columns) + rng.uniform(0, 6, (n, 1, 1)))
    pixels = 128 + 30 * waves[:, None] + rng.normal(0, 25, (n, 3, 12, 12))
    return Batches(pixels.clip(0, 255).astype(np.uint8), labels, (0.5,) * 3, (0.25,) * 3, CPU)


@pytest.fixture(scope="module")
def donor():
    """Trained on four directions; statistics of its batch norms are merged into weights, whose norms are wild."""
    network, generator = seeded_network(GENOTYPE, Task((3, 12, 12), 4), 0, CPU)
    recipe = replace(load_recipe("final"), epochs=10, least_images=0, batch_size=16, flip=False, learning_rate=0.4)
    training = Training(network, _images(4), _images(4, seed=1), recipe, generator)
    while not training.finished:
        reached = training.epoch().accuracy
    assert reached > 0.7
    pairs = [row for row in network.modules() if isinstance(row, nn.Sequential) and len(row) > 1]
    with torch.no_grad():
        for convolution, norm, *_ in (row for row in pairs if isinstance(row[1], nn.BatchNorm2d)):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.bias.sub_(scale * norm.running_mean)
            convolution.weight.mul_(30 * scale[:, None, None, None])
            norm.weight.fill_(1 / 30)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return Donor("waves", GENOTYPE, Task((3, 12, 12), 4), tensors, (0.5,) * 3, (0.25,) * 3, "bilinear", 1e-5, "here", True)


@pytest.mark.parametrize("seed", range(3))
def test_fine_tuning_from_folded_weights_starts_well_and_does_not_diverge(donor, seed):
    train, validation = _images(3, seed=2), _images(3, seed=3)
    torch.manual_seed(seed)
    network = build(GENOTYPE, Task((3, 12, 12), 3)).to(memory_format=torch.channels_last)
    start = Beginnings(donor).begin(network, train, seed)
    assert start.share == pytest.approx(1.0) and start.accuracy > 0.6
    begun = evaluate(network, validation).top1
    assert begun == pytest.approx(start.accuracy, abs=0.15)
    generator = torch.Generator().manual_seed(seed)
    recipe = replace(load_recipe("finetune", epochs=2), least_images=0, flip=False)
    training = Training(network, train, validation, recipe, generator)
    while not training.finished:
        training.epoch()
    assert training.history[-1].accuracy > begun - 0.1
    assert max(epoch.loss for epoch in training.history) < np.log(3)
