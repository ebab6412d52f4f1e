"""Accuracy of the deployed file: its runtime judges a network as torch does, over a whole split and over a part of it."""

import numpy as np
import pytest
import torch

from evaluators.quantise import Quantisation, export_at
from evaluators.training.batches import Batches
from evaluators.training.deployed import calibration_images, deployed
from evaluators.training.metrics import evaluate
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.registry import block_kinds
from search_spaces.task import Task

TASK = Task((3, 32, 32), 4)
TRUNKS = ("inverted_residual 16/2 se=0.25", "shuffle 16/2", "eesp 16/2", "csc 16/2", "fe 16/2", "fused 16/2")


def noise():
    """130 images of noise in four classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (130, 3, 40, 48)).astype(np.uint8)
    return Batches(images, rng.integers(0, 4, 130), (0.4,) * 3, (0.25,) * 3, torch.device("cpu"), size=(32, 32))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_file_is_as_right_as_the_network(trunk):
    assert trunk.split()[0] in block_kinds()
    torch.manual_seed(0)
    network = build(Genotype.parse(f"conv 16/2\n{trunk}\nhead"), TASK)
    split = noise()
    part = torch.arange(0, 130, 3)
    for among in (None, part):
        for threads in (1, 2):
            assert deployed(network, TASK, split, threads, among).scores == evaluate(network, split, among=among)
    assert evaluate(network, split) != evaluate(network, split, among=part)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_of_nncf_is_judged_by_openvino(threads, tmp_path):
    pytest.importorskip("nncf", reason="nncf is not installed")
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    torch.manual_seed(0)
    network, split = build(Genotype.parse("conv 16/2\ninverted_residual 24/2\nhead"), TASK).eval(), noise()
    quantisation = Quantisation(calibration_images(split), "nncf")
    found = deployed(network, TASK, split, threads, quantisation=quantisation)
    export_at(network, TASK, tmp_path / "model.onnx", quantisation)
    model = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = [image.numpy() for batch, _ in split.in_order(64) for image in batch]
    logits = torch.stack([torch.from_numpy(model([image[None]])[0][0]) for image in images])
    assert torch.equal(found.predicted, logits.argmax(1)) and found.bytes == (tmp_path / "model.onnx").stat().st_size
    assert torch.equal(found.confidence, logits.softmax(1).amax(1))
