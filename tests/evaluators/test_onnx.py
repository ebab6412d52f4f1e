"""ONNX export: one quiet file with the agreed names and shapes; shifts as movements of data."""

import warnings
from pathlib import Path

import onnx
import pytest
import torch
from every_block import every_block
from torch import nn

from evaluators.onnx import OPSET, export_onnx, onnx_difference
from nas.testing.networks import trained
from search_spaces.genotype import Genotype
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
# float32 has 1e-7; a few dozen layers, summed in another order, lose less than three digits of it
TOLERANCE = 1e-4


def network_with(name: str) -> nn.Module:
    torch.manual_seed(0)
    return trained(Genotype.parse(f"conv 24/2\n{every_block()[name]}\nhead"), TASK)


def test_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network = network_with("inverted_residual/2").train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(network, TASK, tmp_path / "network.onnx")
    assert capfd.readouterr() == ("", "")
    assert network.training
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]
    model = onnx.load(tmp_path / "network.onnx")
    onnx.checker.check_model(model)
    image, logits = model.graph.input[0], model.graph.output[0]
    assert (image.name, [d.dim_value for d in image.type.tensor_type.shape.dim]) == ("image", [1, 3, 32, 32])
    assert (logits.name, [d.dim_value for d in logits.type.tensor_type.shape.dim]) == ("logits", [1, 10])
    assert model.opset_import[0].version == OPSET
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


def scattered(network: nn.Module) -> nn.Module:
    """Learnt shifts as training leaves them: anywhere within two pixels."""
    for name, parameter in network.named_parameters():
        if name.endswith("_offsets"):
            nn.init.uniform_(parameter, -2.4, 2.4)
    return network.train().eval()


def test_learnt_shifts_are_sorted_on_a_copy(tmp_path: Path) -> None:
    network = scattered(network_with("fe/1"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_onnx(network, TASK, tmp_path / "network.onnx")
    assert onnx_difference(network, tmp_path / "network.onnx", TASK) < TOLERANCE
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    operations = {node.op_type for node in onnx.load(tmp_path / "network.onnx").graph.node}
    assert "Pad" in operations and "Gather" not in operations


@pytest.mark.parametrize("name", ["csc/1", "csc/2", "fe/1", "fe/2"])
def test_a_shift_is_a_movement_of_data_and_no_convolution(name: str, tmp_path: Path) -> None:
    export_onnx(scattered(network_with(name)), TASK, tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    kernels = [weights[node.input[1]][2:] for node in model.graph.node if node.op_type == "Conv"]
    assert kernels.pop(0) == (3, 3)  # the stem
    assert kernels and set(kernels) == {(1, 1)}
