"""The int8 lowering gives the kernels that ONNX Runtime makes of the quantised network, size by size."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from lowerings import Kernels, difference

from evaluators.latency.kernels.int8_profile import kernel_times
from evaluators.latency.kernels.lowering import lowered_blocks
from evaluators.quantise import Quantisation, export_at
from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype
from search_spaces.network import build, example_input
from search_spaces.space_file import space_names
from search_spaces.task import Task

EXACT = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v4", "mnasnet", "shufflenet_v2", "efficientnet_lite:lite0-tf")
# What the reader of a block's output does, and poolings of the image itself, are not seen by a lowering block by block.
MOST_DIFFERENT = 0.02


def lowered(genotype: Genotype, task: Task) -> Kernels:
    return Counter((k.kind, k.size) for block in lowered_blocks(genotype, task, "quantised") for k in block.kernels)


def of_the_runtime(genotype: Genotype, task: Task, path: Path) -> Kernels:
    torch.manual_seed(0)
    export_at(build(genotype, task), task, path, Quantisation(example_input(task, batch=2)))
    return Counter((k.kind, k.size) for k in kernel_times(path, runs=1))


@pytest.mark.parametrize("name", EXACT)
def test_hand_designed_networks_agree_kernel_by_kernel(name: str, tmp_path: Path) -> None:
    genotype, task = anchor(name).genotype, Task((3, 64, 64), 10)
    assert lowered(genotype, task) == of_the_runtime(genotype, task, tmp_path / "network.onnx")


@pytest.mark.parametrize("name", ["mobilenet_v3", "espnet_v2", "fe_net", "shiftnet"])
def test_other_hand_designed_networks_agree_but_for_a_few(name: str, tmp_path: Path) -> None:
    genotype, task = anchor(name).genotype, Task((3, 64, 64), 10)
    ours, theirs = lowered(genotype, task), of_the_runtime(genotype, task, tmp_path / "network.onnx")
    assert (ours - theirs).total() + (theirs - ours).total() <= 2 * MOST_DIFFERENT * theirs.total()


@pytest.mark.slow
@pytest.mark.parametrize("name", space_names())
def test_sampled_networks_agree(name: str, tmp_path: Path) -> None:
    found = difference(lowered, of_the_runtime, name, 2, tmp_path / "network.onnx")
    assert found <= 2 * MOST_DIFFERENT
