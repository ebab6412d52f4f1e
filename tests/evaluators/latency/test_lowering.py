"""The fast lowering gives the kernels that ONNX Runtime's own optimiser makes of the exported network, size by size."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from lowerings import Kernels, difference
from processor import fused_graph

from evaluators.latency.kernels.lowering import lowered_blocks
from evaluators.latency.kernels.onnxruntime_profile import kernel_times
from evaluators.onnx import export_onnx
from search_spaces.anchor import anchor
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.space_file import space_names
from search_spaces.task import Task

# What is decided across the borders of blocks (batch norms of two blocks that fold into one convolution) and the part of a
# split that is reordered are not seen by a lowering block by block.
MOST_DIFFERENT = 0.01
GRAPH = fused_graph()
pytestmark = pytest.mark.skipif(GRAPH is None, reason="needs an x86-64 processor with AVX2")
EXACT = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3",
    "mobilenet_v4",
    "mobilenet_v4:conv_medium",
    "shufflenet_v2",
    "mnasnet",
    "squeezenet",
    "efficientnet_lite",
    "mobilenet_v1:0.5-160-tf",
    "mobilenet_v2:1.0-tf",
    "mobilenet_v3:large-tf",
    "efficientnet_lite:lite0-tf",
)


def lowered(genotype: Genotype, task: Task) -> Kernels:
    return Counter((k.kind, k.size) for block in lowered_blocks(genotype, task, GRAPH) for k in block.kernels)


def of_the_runtime(genotype: Genotype, task: Task, path: Path) -> Kernels:
    torch.manual_seed(0)
    export_onnx(build(genotype, task), task, path)
    return Counter((k.kind, k.size) for k in kernel_times(path, runs=1))


@pytest.mark.parametrize("name", EXACT)
def test_hand_designed_networks_agree_kernel_by_kernel(name: str, tmp_path: Path) -> None:
    genotype, task = anchor(name).genotype, Task((3, 64, 64), 10)
    assert lowered(genotype, task) == of_the_runtime(genotype, task, tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", space_names())
def test_sampled_networks_agree(name: str, tmp_path: Path) -> None:
    found = difference(lowered, of_the_runtime, name, 4, tmp_path / "network.onnx")
    assert found <= 2 * MOST_DIFFERENT
