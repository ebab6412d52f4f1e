"""Distillation against its formula in numpy, and a student that learns what only the teacher knows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from evaluators.training.batches import Batches
from evaluators.training.distill import LABELS, TEMPERATURE, distilled, load_teacher
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.recipe import load_recipe
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task

CPU = torch.device("cpu")
TASK = Task((3, 8, 8), 3)
STUDENT = (0.4,) * 3, (0.25,) * 3  # mean and standard deviation of its images
SMALL = Genotype.parse("conv 8/1\nconv 8/2\nhead")


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_loss_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(5, 4)) * 3, rng.normal(size=(5, 4)) * 3
    p, q = _softmax(teacher / TEMPERATURE), _softmax(student / TEMPERATURE)
    divergence = (p * (np.log(p) - np.log(q))).sum(1).mean()
    expected = LABELS * 1.7 + (1 - LABELS) * TEMPERATURE**2 * divergence
    found = distilled(torch.tensor(student), torch.tensor(teacher), torch.tensor(1.7, dtype=torch.float64))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_at_a_high_temperature_it_is_the_match_of_centred_logits():
    # The paper's section 2.1: the gradient tends to (logits - teacher's) / (classes x T^2), both with mean zero.
    teacher = torch.tensor([[0.02, -0.01, -0.01]])
    student = torch.tensor([[-0.01, 0.03, -0.02]], requires_grad=True)
    distilled(student, teacher, torch.tensor(0.0)).backward()
    torch.testing.assert_close(student.grad, (1 - LABELS) * (student.detach() - teacher) / 3, rtol=0.02, atol=1e-6)


def test_a_student_takes_over_what_the_labels_do_not_say():
    """Labels are of no use; the teacher knows the brightest channel."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (96, 3, 8, 8)).astype(np.uint8)
    truth = np.arange(96) % 3
    images[np.arange(96), truth] += 120
    shown = Batches(images, rng.integers(0, 3, 96), (0.4,) * 3, (0.25,) * 3, CPU)
    true = Batches(images, truth, (0.4,) * 3, (0.25,) * 3, CPU)

    class Brightest(nn.Module):
        def forward(self, x):
            return 10 * x.mean((2, 3))

    recipe = replace(load_recipe("final"), epochs=6, least_images=0, batch_size=16, learning_rate=0.4)
    network, generator = seeded_network(SMALL, TASK, 0, CPU)
    taught = [e.accuracy for e in epochs(network, shown, true, recipe, generator, teacher=Brightest())]
    network, generator = seeded_network(SMALL, TASK, 0, CPU)
    alone = [e.accuracy for e in epochs(network, shown, true, recipe, generator)]
    assert taught[-1] > 0.9 and alone[-1] < 0.6


def _folder(path):
    path.mkdir(exist_ok=True)
    torch.manual_seed(0)
    network = build(SMALL, TASK).eval()
    (path / "genotype.txt").write_text(SMALL.text)
    save_file(network.state_dict(), path / "weights.safetensors")
    return network


def test_a_teacher_is_read_back_frozen_and_in_eval_mode(tmp_path):
    network, teacher = _folder(tmp_path), load_teacher(tmp_path, TASK, CPU, STUDENT)
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(teacher(images), network(images))
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())


def test_a_teacher_of_other_classes_or_a_damaged_one_is_refused(tmp_path):
    _folder(tmp_path)
    with pytest.raises(InputError, match="size mismatch"):
        load_teacher(tmp_path, Task((3, 8, 8), 7), CPU, STUDENT)
    (tmp_path / "weights.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"weights\.safetensors is not a safetensors file"):
        load_teacher(tmp_path, TASK, CPU, STUDENT)
