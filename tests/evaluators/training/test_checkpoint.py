"""Checkpoints: an interrupted training that goes on is the training that was never interrupted, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluators.training.batches import Batches
from evaluators.training.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from evaluators.training.loop import Training, seeded_network
from evaluators.training.recipe import load_recipe
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task

CPU = torch.device("cpu")
TASK = Task((3, 8, 8), 3)
NETWORK = Genotype.parse(
    "conv 8/1\nfe 16/2 units=2 expand=2\ninverted_residual 16/1 expand=2\ndropout rate=0.3\nhead dropout=0.2"
)
RECIPES = {
    "plain": {},
    "everything": {"cutout": 0.25, "mixup": 0.2, "randaugment_ops": 1, "randaugment_magnitude": 3, "ema": 0.9},
    "adamw": {"optimizer": "adamw", "head_rate": 2.0, "layer_decay": 0.7, "learning_rate": 0.01, "most_images": 40},
}


def _training(changes, seed=0):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (48, 3, 8, 8)).astype(np.uint8)
    images = Batches(images, np.arange(48) % 3, (0.4,) * 3, (0.25,) * 3, CPU)
    network, generator = seeded_network(NETWORK, TASK, seed, CPU)
    recipe = replace(load_recipe("final"), epochs=4, least_images=0, batch_size=16, **changes)
    return Training(network, images, images, recipe, generator)


def _curve(training):
    return [(e.number, e.loss, e.accuracy) for e in training.history]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_is_uninterrupted(tmp_path, name, stop):
    whole = _training(RECIPES[name])
    while not whole.finished:
        whole.epoch()
    first = _training(RECIPES[name])
    for _ in range(stop):
        first.epoch()
    save_checkpoint(first, tmp_path)
    first.epoch()  # lost
    torch.manual_seed(77)
    second = _training(RECIPES[name], seed=5)  # everything comes from the checkpoint
    load_checkpoint(second, tmp_path)
    while not second.finished:
        second.epoch()
        save_checkpoint(second, tmp_path)
    assert _curve(second) == _curve(whole) and len(_curve(whole)) == 4
    a, b = second.network.state_dict(), whole.network.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_only_the_newest_is_kept_and_one_that_was_cut_off_is_not_seen(tmp_path):
    training = _training({})
    for _ in range(2):
        training.epoch()
        save_checkpoint(training, tmp_path)
    (tmp_path / ".checkpoint.part").mkdir()
    (tmp_path / ".checkpoint.part" / "weights.safetensors").write_bytes(b"cut off")
    assert [p.name for p in tmp_path.glob("checkpoint*")] == ["checkpoint-00002"]
    fresh = _training({})
    load_checkpoint(fresh, tmp_path)
    assert len(fresh.history) == 2
    fresh.epoch()
    save_checkpoint(fresh, tmp_path)
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_checkpoint_it_begins_at_the_beginning(tmp_path):
    training = _training({})
    load_checkpoint(training, tmp_path)
    assert training.history == []


@pytest.mark.parametrize("file", ["weights.safetensors", "state.pt"])
def test_a_damaged_checkpoint_is_named(tmp_path, file):
    training = _training({})
    training.epoch()
    save_checkpoint(training, tmp_path)
    path = tmp_path / "checkpoint-00001" / file
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="checkpoint-00001 is damaged"):
        load_checkpoint(_training({}), tmp_path)
