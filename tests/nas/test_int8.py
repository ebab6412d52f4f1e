"""In int8: what is searched, trained, measured, tested and exported is the quantised network."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from evaluators.data import load
from evaluators.latency.device.local_device import local_named
from evaluators.latency.device.measure_profile import measure_profile
from evaluators.latency.runtime import at_precision, quantiser_of
from evaluators.onnx import INPUT, OUTPUT
from evaluators.quantise import weight_bits
from evaluators.training.batches import Batches
from nas.run.folder import open_run
from search_spaces.space_file import load_space

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(workshop, tmp_path_factory):
    """A user's data folder, apart from the workshop's, in which this machine is measured in int8 for the small space."""
    folder = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        space = load_space(str(workshop / "small.yaml"))
        measure_profile(space, seconds=6.0, fit=20, verify=20, runtime="onnxruntime_int8")
    return folder


@pytest.fixture
def nas_int8(home, nas_anywhere, monkeypatch):
    """Runs `nas ARGUMENTS` where the device is measured in int8."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    return nas_anywhere


@pytest.fixture
def int8_run(nas_int8, quick_search, tmp_path):
    sizes = "--size-budget", "3KB", "--memory-budget", "7KB"
    code, out, err = nas_int8(*quick_search, "--precision", "int8", "--run", "run", *sizes)
    assert code == 0, err
    return tmp_path / "run", out


def _right(file, images, labels):
    """Share of images that an ONNX file alone classifies rightly."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = [session.run([OUTPUT], {INPUT: image[None]})[0].argmax() for image in images]
    return float(np.mean(np.array(found) == labels))


def test_a_search_in_int8(int8_run, nas_int8, workshop, tmp_path):
    folder, out = int8_run
    result = json.loads((folder / "result.json").read_text())
    best, run = result["best"], open_run(folder)
    assert result["precision"] == "int8" == run.resolved.precision
    assert best["p50_ms"] <= 50 and best["size_bytes"] <= 3e3 and best["memory_bytes"] <= 7e3
    assert "budget 50 ms, weights 3 KB, memory 7 KB" in out
    assert best["float_bytes"] and best["float_test_by_seed"] and best["float_p50_ms"]
    assert "quantised to int8" in out and "onnxruntime_int8" in (folder / "device.json").read_text()

    card, export = json.loads((folder / "export" / "model.json").read_text()), folder / "export"
    assert card["figures_of"] == "model.int8.onnx" and set(card["files"]) == {"model.onnx", "model.int8.onnx", "network.py"}
    assert card["weight_bits"] == weight_bits() and card["quantiser"] == "onnxruntime"
    assert "`model.int8.onnx` was quantised by ONNX Runtime" in (export / "README.md").read_text()
    assert all((export / name).stat().st_size == entry["bytes"] for name, entry in card["files"].items())
    metadata = _metadata(export / "model.int8.onnx")
    described = sum(len(key) + len(metadata[key]) for key in ("classes", "genotype", "id", "preprocessing"))
    assert best["bytes"] + described < card["files"]["model.int8.onnx"]["bytes"] < best["bytes"] + described + 100

    images, labels = _test_images(run, card["preprocessing"], workshop)
    assert _right(export / "model.int8.onnx", images, labels) == pytest.approx(card["accuracy"]["test"], abs=1e-6)
    assert _right(export / "model.onnx", images, labels) == pytest.approx(card["float32"]["test"], abs=1e-6)

    before = (export / "model.int8.onnx").read_bytes()
    code, _, err = nas_int8("export", "run", "--to", "again")
    assert code == 0, err
    assert (tmp_path / "again" / "model.int8.onnx").read_bytes() == before


def _answers_of_openvino(file):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: model([image])[0]


def _answers_of_litert(file):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(file)).get_signature_runner()
    return lambda image: run(args_0=image)["output_0"]


OTHERS = {  # by runtime in float32: the package that quantises, its name in sentences, the file, and what answers for it
    "openvino_cpu": ("nncf", "NNCF", "model.int8.onnx", _answers_of_openvino),
    "litert_cpu": ("litert_quantizer", "LiteRT Quantizer", "model.int8.tflite", _answers_of_litert),
}


@pytest.mark.parametrize("runtime", OTHERS)
def test_a_search_in_int8_in_another_runtime(runtime, nas_anywhere, quick_search, workshop, tmp_path, monkeypatch):
    package, title, file, answers_of_file = OTHERS[runtime]
    pytest.importorskip(package, reason=f"{package} is not installed")
    int8 = at_precision(runtime, "int8")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    space = load_space(str(workshop / "small.yaml"))
    measure_profile(space, name="mine", seconds=4.0, fit=20, verify=20, runtime=int8)
    code, _, err = nas_anywhere(*quick_search, "--device", "mine", "--run", "run")
    assert code == 0, err
    export, best = tmp_path / "run" / "export", json.loads((tmp_path / "run" / "result.json").read_text())["best"]
    card = json.loads((export / "model.json").read_text())
    assert int8 in (tmp_path / "run" / "device.json").read_text() and best["p50_ms"] <= 50
    assert card["quantiser"] == quantiser_of(int8) and card["accuracy"]["test"] == best["test_by_seed"][0]
    assert card["figures_of"] == file and card["files"][file]["bytes"] == (export / file).stat().st_size
    assert f"`{file}` was quantised by {title} and tested in the runtime `{int8}`" in (export / "README.md").read_text()
    answers = answers_of_file(export / file)
    images, labels = _test_images(open_run(tmp_path / "run"), card["preprocessing"], workshop)
    right = [answers(image[None]).argmax() == label for image, label in zip(images, labels, strict=True)]
    assert np.mean(right) == pytest.approx(best["test_by_seed"][0], abs=1e-6)

    before = (export / file).read_bytes()
    code, _, err = nas_anywhere("export", "run", "--to", "again")
    assert code == 0, err
    assert (tmp_path / "again" / file).read_bytes() == before
    photo = next((workshop / "images").rglob("*.png"))
    done = subprocess.run([sys.executable, export / "predict.py", photo], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"{photo}\t"), done.stderr


def _test_images(run, seen, workshop):
    """The test images of a run on the workshop's images, prepared as model.json says, and their labels."""
    dataset = load(f"imagefolder:{workshop / 'images'}", inputs=[tuple(seen["input"])], interpolation="bilinear")
    test = Batches.of(dataset.test, run.preprocessing(tuple(seen["input"])), torch.device("cpu"))
    return [image.numpy() for batch, _ in test.in_order(64) for image in batch], test.labels.numpy()


def _metadata(file):
    return onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map


def test_a_training_in_int8(nas_here, workshop, tmp_path):
    (tmp_path / "network.txt").write_text("input 3x16x16\nconv 16/1\ninverted_residual 24/2 expand=4\nhead\n")
    data, recipe = f"imagefolder:{workshop / 'images'}", workshop / "quick.yaml"
    flags = ["--data", data, "--recipe", recipe, "--epochs", 2, "--from-scratch", "--precision", "int8", "--to", "trained"]
    code, _, err = nas_here("train", "network.txt", *flags)
    assert code == 0, err
    result = json.loads((tmp_path / "trained" / "result.json").read_text())
    assert result["precision"] == "int8" and set(result["float_test_scores"]) == set(result["test_scores"])
    card = json.loads((tmp_path / "trained" / "export" / "model.json").read_text())
    assert card["accuracy"]["test"] == result["test_accuracy"] and "model.int8.onnx" in card["files"]


def test_show_and_compare_in_int8(nas_int8, workshop, tmp_path):
    (tmp_path / "a.txt").write_text("conv 16/1\nshuffle 24/2\nhead\n")
    (tmp_path / "b.txt").write_text("conv 8/1\ninverted_residual 16/2 expand=4\nhead\n")
    small = ["--space", workshop / "small.yaml", "--classes", "3", "--precision", "int8"]
    code, out, err = nas_int8("show", "a.txt", *small, "--measure")
    assert code == 0, err
    assert "int8_pointwise" in out and "Measured p50" in out
    code, out, err = nas_int8("compare", "a.txt", "b.txt", *small)
    assert code == 0 and "predicted ms" in out, err
    assert nas_int8("device", "show", "local-int8")[0] == 0


def test_a_size_budget_is_refused_where_a_quantiser_leaves_weights_in_float32(nas_int8, quick_search, monkeypatch, tmp_path):
    monkeypatch.setattr("evaluators.quantisers.onnxruntime.WHOLE", False)
    code, _, err = nas_int8(*quick_search, "--precision", "int8", "--run", "run", "--size-budget", "3KB")
    assert code == 2 and err.count("\n") == 1 and "how large ONNX Runtime's files are is not known" in err
    assert not (tmp_path / "run").exists()


def test_what_has_no_int8_is_refused(nas_int8, workshop, tmp_path):
    code, _, err = nas_int8("device", "measure", "--device", "local-int8", "--precision", "float32")
    assert code == 2 and "device local-int8 is measured in int8, not in float32" in err
    code, _, err = nas_int8("device", "measure", "--runtime", "torch_eager", "--precision", "int8")
    assert code == 2 and "the runtime torch_eager does not run networks in int8; these do: litert_int8, onnxruntime_int8" in err
    code, _, err = nas_int8(
        "search", "--latency-budget", "5ms", "--device", local_named("local-int8").name, "--precision", "float32"
    )
    assert code == 2 and "is measured in int8, not in float32" in err
    small = ["--space", workshop / "small.yaml", "--data", f"imagefolder:{workshop / 'images'}", "--from-scratch"]
    code, _, err = nas_int8("search", *small, "--latency-budget", "0.001ms", "--precision", "int8")
    assert code == 2 and "0.001 ms" in err and len(err.strip().splitlines()) == 1
