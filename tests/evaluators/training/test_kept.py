"""Kept blocks: they stay as they are, and the others are trained on what they give."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluators.training.batches import Batches
from evaluators.training.kept import Kept, kept_count
from evaluators.training.loop import Training, seeded_network
from evaluators.training.recipe import load_recipe
from search_spaces.genotype import Genotype
from search_spaces.task import Task

CPU = torch.device("cpu")
TASK = Task((3, 32, 32), 3)
NETWORK = Genotype.parse(
    "conv 8/2\ninverted_residual 8/1 expand=2 se=0.25\neesp 16/2 branches=4\ninverted_residual 16/2 expand=2\n"
    "inverted_residual 16/1 expand=2\nhead"
)


def _training(stride, ready, **changes):
    rng = np.random.default_rng(0)
    images = Batches(rng.integers(0, 255, (60, 3, 32, 32)).astype(np.uint8), np.arange(60) % 3, (0.4,) * 3, (0.25,) * 3, CPU)
    network, generator = seeded_network(NETWORK, TASK, 0, CPU)
    recipe = replace(load_recipe("finetune"), epochs=2, least_images=0, batch_size=16, kept_stride=stride, **changes)
    return Training(network, images, images, recipe, generator, ready=ready)


@pytest.mark.parametrize(
    ("stride", "ready", "count"), [(0, 6, 0), (1, 6, 0), (2, 6, 2), (4, 6, 3), (8, 6, 5), (64, 6, 5), (8, 3, 3), (8, 0, 0)]
)
def test_blocks_are_kept_up_to_a_stride_as_far_as_they_are_ready(stride, ready, count):
    training = _training(stride, ready)
    assert kept_count(training.network, stride, ready) == count
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    while not training.finished:
        training.epoch()
    after = training.network.state_dict()
    changed = {int(name.split(".")[1]) for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == set(range(count, len(NETWORK.blocks)))


@torch.no_grad()
def test_kept_blocks_give_what_the_network_in_eval_mode_gives():
    network = _training(8, 6).network.eval()
    images = torch.randn(300, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    begun = Kept(network, 3, low=False)(images)
    assert begun.is_contiguous(memory_format=torch.channels_last) and begun.dtype == torch.float32
    torch.testing.assert_close(network.after(3, begun, images), network(images), rtol=1e-4, atol=1e-5)
    rough = network.after(3, Kept(network, 3, low=True)(images), images)
    torch.testing.assert_close(rough, network(images), rtol=0, atol=0.1 * float(network(images).std()))


def test_a_training_with_kept_blocks_goes_on_as_if_never_interrupted():
    whole, part, rest = (_training(4, 6) for _ in range(3))
    while not whole.finished:
        whole.epoch()
    part.epoch()
    rest.restore(*part.state())
    rest.epoch()
    assert [e.loss for e in rest.history] == [e.loss for e in whole.history]


def test_epochs_are_judged_by_some_images_and_the_last_of_several_by_all():
    few = _training(0, 0, most_validated=15)
    assert [few.epoch().accuracy * 15 % 1, few.epoch().accuracy * 60 % 1] == pytest.approx([0, 0], abs=1e-6)
    seen = []
    for epochs in (1, 2):
        training = _training(0, 0, most_validated=15)
        training.recipe = replace(training.recipe, epochs=epochs)
        in_order = training._validation.in_order
        training._validation.in_order = lambda size, among=None, read=in_order: seen.append(among) or read(size, among)
        while not training.finished:
            training.epoch()
    assert [None if among is None else len(among) for among in seen] == [15, 15, None]
