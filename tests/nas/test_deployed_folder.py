"""An export works by itself: predict.py with numpy, pillow and onnxruntime, network.py with torch, README.md for people."""

import importlib.util
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from every_block import every_block
from PIL import Image

from evaluators.data import Preprocessing
from evaluators.onnx import OnnxForm, export_onnx
from evaluators.weights import save_weights
from nas.export.files import Trained, export_trained
from nas.export.formats import torch_source
from nas.export.scripts import predict
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build, example_input
from search_spaces.space_file import load_space, space_names
from search_spaces.task import Task

CLASSES = ["cat", "dog", "gnu"]
# Runs a script as in an environment without this project and without the packages that are named first.
ALONE = """
import runpy, sys
barred, sys.argv = sys.argv[1].split(','), sys.argv[2:]
class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in barred:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Barred())
runpy.run_path(sys.argv[0], run_name='__main__')
"""
PROJECT = "nas,evaluators,search_spaces"


def _network(genotype, task, seed=0):
    """A network in eval mode whose batch norms do something."""
    torch.manual_seed(seed)
    network = build(genotype, task)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports by (channels, fit, depth); predict.py is the only one that reads them."""

    def make(channels=3, fit="crop", depth=16):
        folder = tmp_path_factory.mktemp("export")
        genotype = Genotype.parse("conv 8/2\ninverted_residual 16/2 expand=2\nhead\n").at((channels, 24, 40))
        save_weights(_network(genotype, genotype.task(3)), folder / "weights.safetensors")
        mean, std = (0.5, 0.45, 0.4)[:channels], (0.25, 0.2, 0.3)[:channels]
        how = Preprocessing(genotype.input, fit, "bicubic", mean, std, depth=depth)
        trained = Trained(
            genotype, folder / "weights.safetensors", CLASSES, how, "top1", 0.5, 0.625, {"p50_ms": 1.5, "p90_ms": 2.0}
        )
        export_trained(trained, folder / "export")
        return folder / "export", how

    return make


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of the kinds that go wrong, by name."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 255, (37, 61, 3)).astype(np.uint8)).resize((90, 50))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(folder / "turned.jpg", exif=exif)
    alpha = colour.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(colour.size))
    alpha.save(folder / "transparent.png")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("P").save(folder / "palette.gif")
    colour.resize((20, 90)).save(folder / "tall.webp", lossless=True)
    Image.fromarray((rng.integers(0, 4096, (30, 30))).astype(np.uint16)).save(folder / "deep.png")
    (folder / "in").mkdir()
    colour.resize((8, 5)).save(folder / "in" / "small.PNG")
    (folder / "notes.txt").write_text("not an image")
    return folder


def _files(images):
    return sorted(path for path in images.rglob("*") if path.is_file() and path.suffix != ".txt")


@pytest.mark.parametrize("depth", [16, 12])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_images_are_prepared_as_in_training(exported, images, fit, channels, depth):
    folder, how = exported(channels, fit, depth)
    seen = json.loads((folder / "model.json").read_text())["preprocessing"]
    for file in _files(images):
        np.testing.assert_array_equal(predict.prepared(file, seen), how(file), err_msg=file.name)


def test_the_script_classifies_files_and_folders_without_this_project(exported, images, tmp_path):
    folder, how = exported()
    shutil.copytree(folder, tmp_path / "device")
    command = [sys.executable, "-c", ALONE, f"{PROJECT},torch", tmp_path / "device" / "predict.py"]
    done = subprocess.run([*command, images, "--top", "3"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(file) for file in _files(images)]
    for file, (_, *answers) in zip(_files(images), lines, strict=True):
        logits = torch.from_numpy(session.run(["logits"], {"image": how(file)})[0])
        expected = dict(zip(CLASSES, logits.softmax(1)[0].tolist(), strict=True))
        found = dict(zip(answers[::2], map(float, answers[1::2]), strict=True))
        assert list(found) == sorted(expected, key=expected.get, reverse=True)
        assert found == pytest.approx(expected, abs=1e-4)


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_classified(exported, images, tmp_path):
    folder, _ = exported()
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    shutil.copy(images / "grey.png", tmp_path)
    command = [sys.executable, folder / "predict.py"]
    done = subprocess.run([*command, tmp_path, tmp_path / "absent.jpg"], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "broken.jpg: cannot be read" in done.stderr and "absent.jpg: cannot be read" in done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [str(tmp_path / "grey.png")]
    (tmp_path / "empty").mkdir()
    done = subprocess.run([*command, tmp_path / "empty"], capture_output=True, text=True)
    assert done.returncode == 2 and "there are no images in" in done.stderr


def test_the_readme_is_a_model_card_with_the_figures_of_model_json(exported):
    folder, _ = exported()
    card = json.loads((folder / "model.json").read_text())
    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    known = yaml.safe_load(header)
    (result,) = known["model-index"][0]["results"]
    assert known["pipeline_tag"] == "image-classification"
    assert result["metrics"] == [{"type": "accuracy", "value": card["accuracy"]["test"]}]
    assert "top1 on the test set: 62.50%" in text and "p50 1.50 ms, p90 2.00 ms" in text and "cat, dog, gnu" in text
    for name, entry in card["files"].items():
        assert f"`{name}`, {entry['bytes']:,} bytes" in text
    assert set(card["companions"]) == {"README.md", "predict.py"} and "python predict.py photo.jpg" in text


def test_the_onnx_file_says_what_a_program_needs_that_has_it_alone(exported):
    folder, how = exported()
    card, session = json.loads((folder / "model.json").read_text()), onnxruntime.InferenceSession(folder / "model.onnx")
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["classes"]) == CLASSES and Preprocessing.from_json(json.loads(found["preprocessing"])) == how
    assert json.loads(found["preprocessing"]) == card["preprocessing"]
    assert found["genotype"] == (folder / "genotype.txt").read_text()
    onnx.checker.check_model(onnx.load(folder / "model.onnx"), full_check=True)


def test_a_companion_of_an_export_is_replaced_and_a_file_of_the_users_is_not(exported, tmp_path):
    folder, how = exported()
    genotype = Genotype.parse((folder / "genotype.txt").read_text())
    again = Trained(genotype, folder / "weights.safetensors", CLASSES, how, "top1", 0.5, 0.25)
    weights = Path(shutil.copy(folder / "weights.safetensors", tmp_path))
    export_trained(replace(again, weights=weights), folder)
    assert "25.00%" in (folder / "README.md").read_text()
    (folder / "notes.md").write_text("mine")
    with pytest.raises(InputError, match=r"contains notes\.md, not written by an export"):
        export_trained(replace(again, weights=weights), folder)


# --- network.py ---


def _source(network, task, folder):
    """What network.py and weights.safetensors of a network load."""
    torch_source.write(network, task, folder / "network.py")
    save_weights(network, folder / "weights.safetensors")
    spec = importlib.util.spec_from_file_location("written", folder / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(folder)


def _check_source(genotype, task, folder):
    network = _network(genotype, task)
    found = _source(network, task, folder)
    for count in (1, 3):
        x = example_input(task, count, 7)
        with torch.no_grad():
            expected = network(x)
            torch.testing.assert_close(found(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("block", every_block())
def test_the_source_of_every_block_computes_the_same(block, tmp_path):
    genotype = Genotype.parse(f"conv 16/1\n{every_block()[block]}\nhead\n").at((3, 16, 16))
    _check_source(genotype, genotype.task(5), tmp_path)


@pytest.mark.parametrize("name", ["alexnet", "as_resnet", "condensenet:cifar-50", "espnet_v2", "googlenet", "skipnet"])
def test_the_source_of_whole_networks_computes_the_same(name, tmp_path):
    """Those that hold every kind of branch, gate, shift and head; benchmarks/source.py checks all anchors."""
    known = anchor(name)
    side = min(known.task.input[1], 96)
    task = Task((known.task.input[0], side, side), 7)
    _check_source(known.genotype.at(task.input), task, tmp_path)


@pytest.mark.parametrize("space", space_names())
def test_the_source_of_random_networks_computes_the_same(space, tmp_path):
    found, rng = load_space(space), random.Random(0)
    for _ in range(2):
        genotype = found.sample(rng)
        _check_source(genotype, genotype.task(4), tmp_path)


def test_the_source_runs_without_this_project(tmp_path):
    genotype = Genotype.parse("conv 8/2\nshuffle 16/2\nhead\n").at((3, 16, 16))
    network = _network(genotype, genotype.task(3))
    _source(network, genotype.task(3), tmp_path)
    command = [sys.executable, "-c", ALONE, f"{PROJECT},safetensors,numpy,onnxruntime", tmp_path / "network.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = network(torch.zeros(1, 3, 16, 16))[0].tolist()
    assert json.loads(done.stdout.partition("image: ")[2]) == pytest.approx(expected, abs=1e-5)
    assert "# block 1: shuffle 16/2" in (tmp_path / "network.py").read_text()


# --- the form of model.onnx ---


@pytest.mark.parametrize("block", every_block())
def test_a_dynamic_batch_of_every_block_computes_what_the_network_does(block, tmp_path):
    genotype = Genotype.parse(f"conv 16/1\n{every_block()[block]}\nhead\n").at((3, 16, 16))
    network, task = _network(genotype, genotype.task(5)), genotype.task(5)
    export_onnx(network, task, tmp_path / "model.onnx", OnnxForm(batch=None))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for count in (1, 3):
        x = example_input(task, count, 7)
        with torch.no_grad():
            expected = network(x).numpy()
        np.testing.assert_allclose(session.run(None, {"image": x.numpy()})[0], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("opset", "batch"), [(9, 1), (11, 4), (13, None), (17, 4), (20, None)])
def test_other_opsets_and_batches_are_exported_checked_and_run(exported, tmp_path, images, opset, batch):
    folder, how = exported()
    genotype = Genotype.parse((folder / "genotype.txt").read_text())
    trained = Trained(genotype, folder / "weights.safetensors", CLASSES, how, "top1", 0.5, 0.5)
    export_trained(trained, tmp_path / "form", form=OnnxForm(opset, batch))
    card, model = json.loads((tmp_path / "form" / "model.json").read_text()), onnx.load(tmp_path / "form" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    entry = card["files"]["model.onnx"]
    assert model.opset_import[0].version == opset == entry["opset"]
    session = onnxruntime.InferenceSession(tmp_path / "form" / "model.onnx")
    assert session.get_inputs()[0].shape == entry["input"][1] == [batch or "batch", *how.input]
    usual, other = (predict.Classifier(place)(images / "grey.png") for place in (folder, tmp_path / "form"))
    np.testing.assert_allclose(other, usual, atol=1e-5)
    export_trained(trained, tmp_path / "form")  # recognises its own
    with pytest.raises(InputError, match=r"--opset and --batch are of model\.onnx, which is not exported"):
        export_trained(trained, tmp_path / "form", ["pt2"], form=OnnxForm(opset, batch))
