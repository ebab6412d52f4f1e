"""Accuracy of the deployed file: ONNX Runtime judges a network as torch does, over a whole split and over a part of it."""

import numpy as np
import pytest
import torch

from evaluators.training.batches import Batches
from evaluators.training.deployed import deployed
from evaluators.training.metrics import evaluate
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.registry import block_kinds
from search_spaces.task import Task

TASK = Task((3, 32, 32), 4)
TRUNKS = ("inverted_residual 16/2 se=0.25", "shuffle 16/2", "eesp 16/2", "csc 16/2", "fe 16/2", "fused 16/2")


@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_file_is_as_right_as_the_network(trunk):
    assert trunk.split()[0] in block_kinds()
    torch.manual_seed(0)
    network = build(Genotype.parse(f"conv 16/2\n{trunk}\nhead"), TASK)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (130, 3, 40, 48)).astype(np.uint8)
    split = Batches(images, rng.integers(0, 4, 130), (0.4,) * 3, (0.25,) * 3, torch.device("cpu"), size=(32, 32))
    part = torch.arange(0, 130, 3)
    for among in (None, part):
        for threads in (1, 2):
            assert deployed(network, TASK, split, threads, among).scores == evaluate(network, split, among=among)
    assert evaluate(network, split) != evaluate(network, split, among=part)
