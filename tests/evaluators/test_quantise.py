"""Quantised exports: every block runs in int8, close to float32; the same images give the same file."""

import importlib
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from every_block import every_block

from evaluators import quantise
from evaluators.cost import cost
from evaluators.installed import installed_version
from evaluators.latency.runtime import answers_of
from evaluators.quantise import Quantisation, export_at
from evaluators.quantisers import load_quantiser, quantiser_names
from nas.testing.networks import trained
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import example_input
from search_spaces.task import Task

TASK = Task((3, 32, 32), 10)
_OTHERWISE = ("gated", "active_shift")  # the gate stays in float32; learnt shifts become a depthwise convolution
SMALL = Genotype.parse("conv 16/2\ninverted_residual 24/2 expand=4 act=hard_swish se=0.25\nhead\n")
REFUSED = {("litert", "lrn")}  # quantiser and kind of block
NEEDS = {"onnxruntime": [], "nncf": ["nncf", "openvino"], "litert": ["litert_quantizer", "litert_torch"]}
CALLS = {
    "onnxruntime": "onnxruntime.quantization.quantize_static",
    "nncf": "nncf.quantize",
    "litert": "litert_quantizer.quantizer.Quantizer",
}
MISSING = {
    "nncf": r"int8 in OpenVINO needs .*pip install no-such-nncf, .*compact-nas\[openvino\]",
    "litert": r"int8 in LiteRT needs .*pip install no-such-litert-quantizer, .*compact-nas\[litert\]",
}


@pytest.fixture(params=quantiser_names())
def quantiser(request: pytest.FixtureRequest) -> str:
    """Each quantiser that is installed, by name."""
    for package in NEEDS[request.param]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    return str(request.param)


@pytest.mark.parametrize("text", every_block().values(), ids=list(every_block()))
def test_every_block_is_close_to_float(text: str, quantiser: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    end = "" if "head" in text or "classes" in text else "\nhead"
    network, images = trained(Genotype.parse(f"conv 24/2\n{text}{end}"), TASK).eval(), example_input(TASK, batch=16)
    path = _file(tmp_path, quantiser)
    if (quantiser, text.split()[0]) in REFUSED:
        with pytest.raises(InputError, match="cannot quantise this network"):
            export_at(network, TASK, path, Quantisation(images, quantiser))
        return
    export_at(network, TASK, path, Quantisation(images, quantiser))
    if load_quantiser(quantiser).WHOLE and text.split()[0] not in _OTHERWISE:
        assert sum(weights.size for weights in _weights(path)) == cost(network.genotype, TASK).weights
    # OpenVINO 2026.4.1 adds up the wrong values in some files of fe that NNCF made; ONNX Runtime reads the same files rightly
    fe_of_nncf = quantiser == "nncf" and text.startswith("fe ")
    runtime = "onnxruntime_int8" if fe_of_nncf else load_quantiser(quantiser).RUNTIME
    answers = answers_of(runtime, path)
    found = np.concatenate([answers(image[None].numpy()) for image in images])
    with torch.no_grad():
        expected = network(images).numpy()
    off = expected - expected.mean(0)
    assert np.square(found - expected).mean() <= 0.2 * np.square(off).mean() + 1e-4


def test_weights_are_int8_and_the_same_images_give_the_same_file(quantiser: str, tmp_path: Path) -> None:
    network, images = trained(SMALL, TASK).eval(), example_input(TASK, batch=4)
    path, again = _file(tmp_path, quantiser), _file(tmp_path, quantiser, "again")
    for file in (path, again):
        export_at(network, TASK, file, Quantisation(images, quantiser))
    assert path.read_bytes() == again.read_bytes()
    if path.suffix == ".tflite":
        kinds = _tflite_weights(path)
        assert len(kinds) == 7 and {str(kind) for kind in kinds} == {"int8"}
        return
    stored = [tensor for tensor in onnx.load(path).graph.initializer if len(tensor.dims) > 1]
    floats = {tensor.name for tensor in stored if tensor.data_type != onnx.TensorProto.INT8}
    assert all(".gate." in name for name in floats), "NNCF leaves squeeze-and-excitation in float32"
    assert len(stored) == 7 and len(floats) == (2 if quantiser == "nncf" else 0)


@pytest.mark.parametrize(("able", "bits"), [(True, 8), (None, 8), (False, 7)])
def test_weights_have_7_bits_on_processors_without_int8_products(able, bits, quantiser, tmp_path, monkeypatch):
    if not load_quantiser(quantiser).OVERFLOWS:
        pytest.skip("its runtime sums in 32 bits")
    monkeypatch.setattr(quantise, "multiplies_int8", lambda: able)
    export_at(trained(SMALL, TASK).eval(), TASK, tmp_path / "int8.onnx", Quantisation(example_input(TASK, batch=4), quantiser))
    first, *rest = _weights(tmp_path / "int8.onnx")
    largest = {8: 127, 7: 64}
    assert _largest(first) == largest[7 if quantiser == "nncf" else bits]  # NNCF always halves the first layer's range
    summed = [weights for weights in rest if quantiser != "nncf" or weights.shape[1] > 1]  # not depthwise
    assert max(map(_largest, summed)) == largest[bits]


def _file(folder: Path, quantiser: str, name: str = "int8") -> Path:
    return folder / f"{name}{load_quantiser(quantiser).SUFFIX}"


def _tflite_weights(file: Path) -> list[np.dtype]:
    """The types of the constant tensors with more than one dimension that convolutions and linear layers read."""
    from ai_edge_litert.interpreter import Interpreter

    # without the delegate, which takes several operations into one
    interpreter = Interpreter(str(file), experimental_op_resolver_type=_reference())
    kinds = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    layers = [op for op in interpreter._get_ops_details() if "CONV" in op["op_name"] or op["op_name"] == "FULLY_CONNECTED"]
    return [np.dtype(kinds[op["inputs"][1]]) for op in layers]


def _reference() -> object:
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def _weights(file: Path) -> list[np.ndarray]:
    stored = [t for t in onnx.load(file).graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1]
    return [onnx.numpy_helper.to_array(tensor) for tensor in stored if math.prod(tensor.dims)]


def _largest(weights: np.ndarray) -> int:
    return int(np.abs(weights.astype(int)).max())


def test_one_image_is_enough_and_none_is_refused(quantiser: str, tmp_path: Path) -> None:
    network, path = trained(SMALL, TASK).eval(), _file(tmp_path, quantiser)
    export_at(network, TASK, path, Quantisation(example_input(TASK), quantiser))
    assert path.is_file()
    with pytest.raises(InputError, match="at least one training image"):
        export_at(network, TASK, _file(tmp_path, quantiser, "none"), Quantisation(example_input(TASK)[:0], quantiser))


def test_what_the_quantiser_refuses_is_one_message(quantiser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such operation\nmore")

    module, _, name = CALLS[quantiser].rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), name, refuse)
    title = load_quantiser(quantiser).TITLE
    with pytest.raises(InputError, match=rf"^{title} cannot quantise this network \(ValueError: no such operation\)"):
        export_at(trained(SMALL, TASK).eval(), TASK, _file(tmp_path, quantiser), Quantisation(example_input(TASK), quantiser))


def test_nothing_is_written_to_the_terminal(quantiser: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, quantiser)
    export_at(trained(SMALL, TASK).eval(), TASK, path, Quantisation(example_input(TASK), quantiser))
    answers_of(load_quantiser(quantiser).RUNTIME, path)(example_input(TASK).numpy())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", sorted(MISSING))
def test_a_missing_quantiser_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str, *about: str) -> str:
        return installed_version(f"no-such-{package}", *about)

    monkeypatch.setattr(f"evaluators.quantisers.{name}.installed_version", missing)
    with pytest.raises(InputError, match=MISSING[name]):
        export_at(trained(SMALL, TASK).eval(), TASK, _file(tmp_path, name), Quantisation(example_input(TASK), name))


def test_an_unknown_quantiser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'there is no quantiser "nnfc".*nncf'):
        export_at(trained(SMALL, TASK).eval(), TASK, tmp_path / "a.onnx", Quantisation(example_input(TASK), "nnfc"))


def test_what_the_converter_to_tflite_raises_is_one_line_and_a_full_disk_stays_what_it_is(tmp_path, monkeypatch) -> None:
    litert_torch = pytest.importorskip("litert_torch", reason="litert_torch is not installed")
    from evaluators.tflite import export_tflite

    for error, found in ((ValueError("no such\noperation"), InputError), (OSError(28, "full"), OSError)):

        def refuse(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(litert_torch, "convert", refuse)
        with pytest.raises(found) as caught:
            export_tflite(trained(SMALL, TASK).eval(), TASK, tmp_path / "a.tflite")
        assert "\n" not in str(caught.value)
