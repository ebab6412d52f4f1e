"""Checks that counting, lowering, export and inheritance of a block match what torch runs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import torch
from torch import nn

from evaluators.cost import cost
from evaluators.inheritance.donor import Donor
from evaluators.inheritance.inherit import inherit
from evaluators.latency.kernels.lowering import total_kernels
from evaluators.latency.runtime import Graph
from evaluators.onnx import export_onnx, onnx_difference
from nas.testing.networks import counted, trained
from nas.testing.said import said
from search_spaces.genotype import Genotype
from search_spaces.network import build, classifier
from search_spaces.registry import BlockKind
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
# relative to the largest logit; float32 rounding is 1e-7 per operation, over a hundred layers in another order
TOLERANCE = 1e-4


def check_deployed(kind: BlockKind, text: str) -> None:
    """Check a block, given as text, in a small network; raises AssertionError that says what is wrong.

    Params, MACs and activations must equal those of the modules that run: all convolutions and linear layers must be nn.Conv2d
    and nn.Linear, which are initialised, counted and inherited as such. The kernels of both lowerings must have the same MACs.
    ONNX Runtime's logits must equal torch's. A donor of the same genotype must pass on all weights but the classifier's.
    """
    genotype = Genotype.parse(f"conv 24/2\n{text}" + ("" if "classes" in kind.takes else "\nhead"))
    where = f"block {' '.join(text.split())}"
    with said(f"{where} cannot be counted"):
        found = cost(genotype, TASK)
        figures, own = (found.params, found.macs, found.activations), counted(genotype, TASK)
    assert figures == own, f"{where}: its graph has (params, MACs, activations) {figures}, its modules have {own}"
    for graph in get_args(Graph):
        with said(f"{where} cannot be lowered to {graph} kernels"):
            macs = sum(row[1] for row in total_kernels(genotype, TASK, graph).values())
        assert macs == found.macs, f"{where}: its {graph} kernels have {macs} MACs of {found.macs}"
    check_export(trained(genotype, TASK), TASK, where)
    _check_inheritance(genotype, where)


def check_export(network: nn.Module, task: Task, where: str) -> None:
    """Check that ONNX Runtime's logits equal torch's."""
    with TemporaryDirectory() as folder, said(f"{where} cannot be exported to ONNX"):
        path = Path(folder) / "network.onnx"
        export_onnx(network, task, path)
        difference = onnx_difference(network, path, task, seed=1)
    assert difference < TOLERANCE, f"{where}: ONNX Runtime's logits differ from torch's by {difference:.2g} of the largest"


def _check_inheritance(genotype: Genotype, where: str) -> None:
    tensors = {name: tensor.detach() for name, tensor in trained(genotype, TASK).state_dict().items()}
    donor = Donor("made up", genotype, TASK, tensors, (0.5,) * 3, (0.25,) * 3, "bilinear", 1e-3, "noise")
    network = build(genotype, TASK)
    with said(f"{where} cannot inherit from an identical network"):
        share = inherit(network, donor, 0).share
    last = next(name for name, module in network.named_modules() if module is classifier(network))
    lost = [n for n, t in network.state_dict().items() if not n.startswith(last) and not torch.equal(t, tensors[n])]
    assert not lost and share == 1, f"{where}: an identical network does not inherit {', '.join(lost) or 'all weights'}"
