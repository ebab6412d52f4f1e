"""Every export format: its file gives torch's logits, run as README.md says; a missing package is named before any work."""

import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.agreement import difference
from evaluators.data import Preprocessing
from evaluators.onnx import export_onnx
from evaluators.weights import load_network, save_weights
from nas.export import formats
from nas.export.files import Trained, export_trained
from nas.testing.networks import trained as with_statistics
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build, classifier

ROOT = Path(__file__).parents[2]
GENOTYPE = Genotype.parse("conv 8/2\ninverted_residual 16/2 act=hard_swish se=0.25\nshuffle 24/2\nhead\n").at((3, 24, 40))
TASK = GENOTYPE.task(3)
CONVERTED = [name for name in formats.FORMATS.own() if hasattr(formats.FORMATS.load(name), "RUNTIME")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(with_statistics(GENOTYPE, TASK), weights)
    how = Preprocessing(TASK.input, "crop", "bilinear", (0.5, 0.45, 0.4), (0.25, 0.2, 0.3))
    return Trained(GENOTYPE, weights, list("abc"), how, "top1", 0.5, 0.5)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The export in a format, made once; skips if its package is missing."""

    def make(name):
        try:
            formats.load([name])
        except InputError as error:
            pytest.skip(str(error))
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "export"
            export_trained(trained, made[name], [name])
        return made[name]

    made: dict[str, Path] = {}
    return make


def _runs(use, folder, image, monkeypatch):
    """The logits that the Python in README.md computes in its folder."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "network", raising=False)
    scope = {"image": image}
    exec(use, scope)
    return scope["logits"]


@pytest.mark.parametrize("name", [name for name in formats.FORMATS.own() if name != "onnx"])  # onnx has predict.py
def test_the_file_gives_torch_s_logits_run_as_the_readme_says(name, trained, exported, monkeypatch):
    folder, use = exported(name), formats.use(formats.FORMATS.load(name))
    card, text = json.loads((folder / "model.json").read_text()), (folder / "README.md").read_text()
    assert use and all(f"    {line}\n" in text for line in use.splitlines())
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 61, 3)).astype(np.uint8))
    image = Preprocessing.from_json(card["preprocessing"])(photo)
    logits = _runs(use, folder, image, monkeypatch)
    network = load_network(GENOTYPE, TASK, trained.weights)
    assert difference(logits, network, torch.from_numpy(image)) < formats.TOLERANCE


@pytest.mark.parametrize("name", formats.FORMATS.own())
def test_every_file_is_in_model_json_and_the_readme(name, trained, exported):
    folder = exported(name)
    card, text = json.loads((folder / "model.json").read_text()), (folder / "README.md").read_text()
    ((file, entry),) = card["files"].items()
    parts = [file, *entry.get("more", [])]
    own = {"genotype.txt", "weights.safetensors", "model.json", "README.md"} | ({"predict.py"} if name == "onnx" else set())
    assert {path.name for path in folder.iterdir()} == own | set(parts)
    assert entry["bytes"] == sum((folder / part).stat().st_size for part in parts) and all(
        f"`{part}`" in text for part in parts
    )
    assert f"{entry['input'][1]} float32, {entry['layout']}" in text
    for key in ("mean", "std", "scale", "channels"):
        assert f"- {key}: {card['preprocessing'][key]}" in text


def _of_openvino(file):
    import openvino

    model = openvino.Core().read_model(file)
    return [(one.any_name, list(one.shape)) for one in (model.input(0), model.output(0))]


def _of_ncnn(file):
    import ncnn

    net = ncnn.Net()
    net.load_param(str(file))
    net.load_model(str(file.with_suffix(".bin")))
    return [(list(names), None) for names in (net.input_names(), net.output_names())]


def _of_executorch(file):
    from executorch.runtime import Runtime

    about = Runtime.get().load_program(str(file)).load_method("forward").metadata
    return [(None, list(one.sizes())) for one in (about.input_tensor_meta(0), about.output_tensor_meta(0))]


def _of_litert(file):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(file)).get_signature_runner()
    return [
        (name, about["shape"].tolist())
        for of in (run.get_input_details(), run.get_output_details())
        for name, about in of.items()
    ]


SEEN = {"openvino": _of_openvino, "ncnn": _of_ncnn, "executorch": _of_executorch, "litert": _of_litert}


@pytest.mark.parametrize("name", CONVERTED)
def test_names_and_shapes_are_those_that_the_runtime_finds_in_the_file(name, exported):
    """None: what the runtime does not know."""
    folder = exported(name)
    ((file, entry),) = json.loads((folder / "model.json").read_text())["files"].items()
    for (name_there, shape), (name_here, shape_here) in zip(
        SEEN[name](folder / file), (entry["input"], entry["output"]), strict=True
    ):
        assert name_there in (None, name_here, [name_here]) and shape in (None, shape_here)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_missing_package_is_named_with_its_extra_before_any_work(name, nas_anywhere, monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    for what in (["mobilenet_v2", "--weights", "absent.pth"], ["absent"]):
        code, out, err = nas_anywhere("export", *what, "--format", name)
        assert code == 2 and not out and f"the export format {name}: " in err and f"pip install 'compact-nas[{name}]'" in err
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert name in extras and not list(Path().iterdir())


@pytest.mark.parametrize("name", formats.FORMATS.own())
def test_docs_formats_has_a_row_for_it(name):
    text, entry = (ROOT / "docs" / "formats.md").read_text(), formats.entry(way := formats.FORMATS.load(name), TASK)
    row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
    files, names = [way.FILE, *entry.get("more", [])], [entry["input"][0], entry["output"][0]]
    assert all(f"`{part}`" in row for part in files + (names if name != "executorch" else []))  # which has no names


def _nothing(network):
    return None


def _scaled(by):
    def logits_scaled(network):
        with torch.no_grad():
            for parameter in classifier(network).parameters():
                parameter.mul_(by)
        return network

    return logits_scaled


def _four_classes(network):
    return build(GENOTYPE, GENOTYPE.task(4))


def _way(write):
    return SimpleNamespace(FILE="model.onnx", RUNTIME="onnxruntime_cpu", write=write)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (_nothing, "InvalidProtobuf"),
        (_scaled(1.01), r"the logits of onnxruntime_cpu differ from torch's by 0\.01 of the largest, more than 0\.001"),
        (_scaled(float("nan")), "differ from torch's by nan"),
        (_four_classes, "4 logits, but 3 classes"),
    ],
    ids=["no network", "other logits", "nan", "another number"],
)
def test_a_file_that_does_not_give_the_logits_is_refused(other, message, trained, tmp_path):
    """A format that writes another network than it is given."""
    network, path = load_network(GENOTYPE, TASK, trained.weights), tmp_path / "model.onnx"
    formats.write(_way(export_onnx), network, TASK, path)
    wrong = other(load_network(GENOTYPE, TASK, trained.weights))
    way = _way(lambda network, task, path: export_onnx(wrong, task, path) if wrong else path.write_text("nothing"))
    with pytest.raises(InputError, match=rf"^model\.onnx: this network cannot be converted: .*{message}"):
        formats.write(way, network, TASK, path)
