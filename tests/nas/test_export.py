"""The exported ONNX file gives the logits that the network was tested with; an export replaces the files of exports alone."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from evaluators.data import Preprocessing, load
from evaluators.data.sets.imagefolder import read
from evaluators.training.batches import Batches
from evaluators.weights import load_network, save_weights
from nas.export.files import Trained, export_trained
from search_spaces.errors import InputError
from search_spaces.folder import made_whole
from search_spaces.genotype import Genotype
from search_spaces.network import build

FILES = ("genotype.txt", "weights.safetensors", "model.onnx", "network.py", "predict.py", "README.md", "model.json")
BLOCKS = "conv 8/2 padding=same\ninverted_residual 16/2 expand=2 se=0.25 act=hard_swish\nhead\n"


@pytest.fixture(scope="module")
def tested(photos):
    """(data set at two inputs, files of its test set) by channels, rectangular or not, and fit."""

    def make(channels, sizes, fit):
        data = load(f"imagefolder:{photos}", inputs=[(channels, *size) for size in sizes], fit=fit)
        return data, read(photos, False).test.items

    return make


@pytest.mark.parametrize("sizes", [[(32, 32), (24, 24)], [(24, 40), (30, 50)]], ids=["square", "rectangular"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_original_images_give_the_logits_of_the_network(tested, tmp_path, fit, channels, sizes):
    data, files = tested(channels, sizes, fit)
    for number, input in enumerate(data.inputs):
        genotype = Genotype.parse(BLOCKS).at(input)
        torch.manual_seed(number)
        network = build(genotype, genotype.task(3)).train()
        how = data.preprocessing(input, (0.5, 0.45, 0.4), (0.25, 0.2, 0.3))
        shown = torch.cat([images for images, _ in Batches.of(data.test, how, torch.device("cpu")).in_order(8)])
        with torch.no_grad():
            network(shown)  # so that batch norms have statistics
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        trained = Trained(genotype, tmp_path / "weights.safetensors", list("abc"), how, "top1", 0.5, 0.5)
        export_trained(trained, tmp_path / "export")
        card = json.loads((tmp_path / "export" / "model.json").read_text())
        seen, session = (
            Preprocessing.from_json(card["preprocessing"]),
            onnxruntime.InferenceSession(tmp_path / "export" / "model.onnx"),
        )
        assert session.get_inputs()[0].shape == [1, *input] == card["files"]["model.onnx"]["input"][1]
        found = np.concatenate([session.run(["logits"], {"image": seen(file)})[0] for file in files])
        with torch.no_grad():
            expected = load_network(genotype, genotype.task(3), tmp_path / "export" / "weights.safetensors")(shown).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3)


# --- the folder that is written to ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network with its weights."""
    genotype = Genotype.parse("conv 8/2\nhead\n").at((3, 8, 8))
    weights = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(build(genotype, genotype.task(2)), weights)
    how = Preprocessing((3, 8, 8), "crop", "bilinear", (0.5,) * 3, (0.25,) * 3)
    return Trained(genotype, weights, ["a", "b"], how, "top1", 0.5, 0.5)


def _all(folder: Path) -> dict[str, bytes | None]:
    """What lies in a folder, by name: content of files, None of folders."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def _another(trained, test):
    return Trained(**{**vars(trained), "test": test})


def _file(path: Path, text: str = "precious") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


FOREIGN = {
    "a file beside an empty card": ("weights.bin", lambda t, made: [_file(t / "weights.bin"), _file(t / "model.json", "{}")]),
    "a file beside a card of another": ("model.json", lambda t, made: _file(t / "model.json", '{"files": ["weights.bin"]}')),
    "a card that is no JSON": ("model.json", lambda t, made: _file(t / "model.json", "[" * 100_000)),
    "a network of somebody": ("model.onnx", lambda t, made: _file(t / "model.onnx")),
    "weights of another": (
        "genotype.txt, weights.safetensors",
        lambda t, made: [_file(t / "weights.safetensors"), _file(t / "genotype.txt")],
    ),
    "notes in an export": ("notes.txt", lambda t, made: [export_trained(made, t), _file(t / "notes.txt")]),
    "a hidden file in an export": (".notes", lambda t, made: [export_trained(made, t), _file(t / ".notes")]),
    "a folder in an export": ("mine", lambda t, made: [export_trained(made, t), _file(t / "mine" / "notes.txt")]),
    "a folder in a file's place": (
        "model.onnx",
        lambda t, made: [export_trained(made, t), (t / "model.onnx").unlink(), _file(t / "model.onnx" / "notes.txt")],
    ),
    "a link in an export": ("link", lambda t, made: [export_trained(made, t), (t / "link").symlink_to("nowhere")]),
    "what looks like a part": (".export-mine", lambda t, made: _file(t / ".export-mine" / "new" / "notes.txt")),
    "a part of another": (".export-mine", lambda t, made: _file(t / ".export-mine" / "weights.safetensors")),
    "a link that looks like a part": (
        ".export-mine",
        lambda t, made: [
            (t / "..").resolve().joinpath("other").mkdir(),
            t.mkdir(),
            (t / ".export-mine").symlink_to("../other"),
        ],
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_that_holds_anything_else_is_refused_by_its_name_and_left_as_it_is(trained, tmp_path, kind):
    name, prepare = FOREIGN[kind]
    prepare(tmp_path / "t", trained)
    before = _all(tmp_path)
    with pytest.raises(InputError, match=f"t contains {name},? .*not written by an export"):
        export_trained(_another(trained, 0.75), tmp_path / "t")
    assert _all(tmp_path) == before


def test_a_file_in_its_place_is_refused(trained, tmp_path):
    _file(tmp_path / "t")
    with pytest.raises(InputError, match="is not a folder"):
        export_trained(trained, tmp_path / "t")
    assert (tmp_path / "t").read_text() == "precious"


def test_an_earlier_export_is_replaced(trained, tmp_path):
    export_trained(trained, tmp_path / "t")
    assert export_trained(_another(trained, 0.75), tmp_path / "t") == sorted((tmp_path / "t").iterdir())
    assert json.loads((tmp_path / "t" / "model.json").read_text())["accuracy"]["test"] == 0.75
    assert {p.name for p in (tmp_path / "t").iterdir()} == set(FILES)


def test_the_exported_program_gives_the_logits_of_the_network(trained, tmp_path):
    export_trained(trained, tmp_path / "t", ["pt2"])
    network = load_network(trained.genotype, trained.task, trained.weights)
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(tmp_path / "t" / "model.pt2").module()(image), network(image))


def test_neighbours_are_nobodys_business(trained, tmp_path):
    for name in (".t.part", "t.part", ".export-mine", ".nas-mine"):
        _file(tmp_path / name / "notes.txt")
    before = _all(tmp_path)
    export_trained(trained, tmp_path / "t")
    with made_whole(tmp_path / "u", "folder") as part:
        _file(part / "inside")
    after = _all(tmp_path)
    assert before.items() <= after.items() and len(after) == len(before) + 1 + len(FILES) + 2


def test_the_current_folder_and_links_are_folders_too(trained, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path / "here")
    export_trained(trained, Path("."))
    export_trained(_another(trained, 0.75), tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and sorted(os.listdir(tmp_path)) == ["here", "link"]
    assert json.loads(Path("model.json").read_text())["accuracy"]["test"] == 0.75 and len(os.listdir()) == len(FILES)


@pytest.mark.parametrize("there", [True, False], ids=["over an earlier one", "into a new folder"])
@pytest.mark.parametrize("calls", range(2 * len(FILES)))
def test_a_move_that_fails_leaves_all_as_it_was(trained, tmp_path, monkeypatch, calls, there):
    if there:
        export_trained(trained, tmp_path / "t")
    before, left, rename = _all(tmp_path), iter(range(calls)), Path.rename

    def failing(source, target):
        if next(left, None) is None and source.name in FILES and not failed:
            failed.append(source)
            raise OSError(28, "No space left on device")
        return rename(source, target)

    failed: list[Path] = []
    monkeypatch.setattr(Path, "rename", failing)
    if not there and calls >= len(FILES):
        return
    with pytest.raises(InputError, match="No space left on device"):
        export_trained(_another(trained, 0.75), tmp_path / "t")
    assert failed and _all(tmp_path) == before


@pytest.mark.parametrize("there", [True, False], ids=["over an earlier one", "into a new folder"])
@pytest.mark.parametrize("step", ["export_onnx", *range(2 * len(FILES))])
def test_an_export_that_was_killed_is_made_anew_and_leaves_nothing(trained, tmp_path, step, there):
    """A child that ends at once stands in for a process that is killed."""
    if there:
        export_trained(trained, tmp_path / "t")
    if not there and step != "export_onnx" and step >= len(FILES):
        return
    if (child := os.fork()) == 0:
        _die_at(step)
        export_trained(trained, tmp_path / "t")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    export_trained(_another(trained, 0.75), tmp_path / "t")
    assert {p.name for p in (tmp_path / "t").iterdir()} == set(FILES)
    assert json.loads((tmp_path / "t" / "model.json").read_text())["accuracy"]["test"] == 0.75


def _die_at(step: str | int) -> None:
    import evaluators.onnx

    left, rename = iter(range(step if isinstance(step, int) else 0)), Path.rename

    def dying(*arguments):
        if next(left, None) is None:
            os._exit(9)
        return rename(*arguments)

    if step == "export_onnx":
        evaluators.onnx.export_onnx = dying
    else:
        Path.rename = dying
