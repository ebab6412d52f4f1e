"""Quantised exports: every block runs in int8, close to float32; the same images give the same file."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from every_block import every_block

from evaluators import quantise
from evaluators.cost import cost
from evaluators.latency.timing.bench import open_session
from evaluators.onnx import INPUT, OUTPUT
from evaluators.quantise import export_int8
from nas.testing.networks import trained
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import example_input
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
_OTHERWISE = ("gated", "active_shift")  # the gate stays in float32; learnt shifts become a depthwise convolution
SMALL = Genotype.parse("conv 16/2\ninverted_residual 24/2 expand=4 act=hard_swish se=0.25\nhead\n")


@pytest.mark.parametrize("text", every_block().values(), ids=list(every_block()))
def test_every_block_is_close_to_float(text: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    end = "" if "head" in text or "classes" in text else "\nhead"
    network, images = trained(Genotype.parse(f"conv 24/2\n{text}{end}"), TASK).eval(), example_input(TASK, batch=16)
    export_int8(network, TASK, tmp_path / "int8.onnx", images)
    stored = [t for t in onnx.load(tmp_path / "int8.onnx").graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims]
    weights = sum(math.prod(tensor.dims) for tensor in stored if len(tensor.dims) > 1)
    if text.split()[0] not in _OTHERWISE:
        assert weights == cost(network.genotype, TASK).weights
    session = open_session(tmp_path / "int8.onnx", 1)
    found = np.concatenate([session.run([OUTPUT], {INPUT: image[None].numpy()})[0] for image in images])
    with torch.no_grad():
        expected = network(images).numpy()
    off = expected - expected.mean(0)
    assert np.square(found - expected).mean() <= 0.2 * np.square(off).mean() + 1e-4


def test_weights_are_int8_and_the_same_images_give_the_same_file(tmp_path: Path) -> None:
    network, images = trained(SMALL, TASK).eval(), example_input(TASK, batch=4)
    for name in ("a.onnx", "b.onnx"):
        export_int8(network, TASK, tmp_path / name, images)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer if len(tensor.dims) > 1}
    assert kinds == {onnx.TensorProto.INT8}


@pytest.mark.parametrize(("able", "largest"), [(True, 127), (None, 127), (False, 64)])
def test_weights_have_7_bits_on_processors_without_int8_products(able, largest, tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "multiplies_int8", lambda: able)
    export_int8(trained(SMALL, TASK).eval(), TASK, tmp_path / "int8.onnx", example_input(TASK, batch=4))
    stored = [t for t in onnx.load(tmp_path / "int8.onnx").graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims]
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in stored if len(tensor.dims) > 1]
    assert max(int(np.abs(w.astype(int)).max()) for w in weights) == largest


def test_one_image_is_enough_and_none_is_refused(tmp_path: Path) -> None:
    network = trained(SMALL, TASK).eval()
    export_int8(network, TASK, tmp_path / "one.onnx", example_input(TASK))
    assert (tmp_path / "one.onnx").is_file()
    with pytest.raises(InputError, match="at least one training image"):
        export_int8(network, TASK, tmp_path / "none.onnx", example_input(TASK)[:0])


def test_what_the_quantiser_refuses_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such operation\nmore")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", refuse)
    with pytest.raises(InputError, match=r"cannot quantise this network \(ValueError: no such operation\)"):
        export_int8(trained(SMALL, TASK).eval(), TASK, tmp_path / "a.onnx", example_input(TASK))
