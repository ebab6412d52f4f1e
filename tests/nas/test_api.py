"""The library: a search, its results and a resumed one from Python, as a program uses them; nothing is printed."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from killed import alone
from PIL import Image

import nas
from nas.progress import Silent

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def said(workshop, tmp_path_factory):
    """The run of examples/quickstart.py, which searches by `nas.search`, and what it printed."""
    folder, images = tmp_path_factory.mktemp("api"), workshop / "images"
    asked = ["--space", workshop / "small.yaml", "--latency-budget", "50", "--trials", "2", "--run", folder / "run"]
    asked += ["--data", f"imagefolder:{images}", "--image", images / "left" / "0.png"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py"), *map(str, asked)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(workshop / "data")},
        preexec_fn=alone,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "run", done.stdout


@pytest.fixture(scope="module")
def run(said):
    return nas.open_run(said[0])


def test_the_quickstart_finds_a_network_and_classifies_an_image(said):
    run, printed = said
    lines = printed.splitlines()
    assert lines[1] in ("input 3x16x16", "input 3x24x24") and "ms measured" in printed
    assert re.fullmatch(r"0\.png: the network says (left|top|middle) \(\d+%\)", lines[-1])
    assert (run / "export" / "model.onnx").is_file()


def test_the_quickstarts_own_image_is_named_after_its_class(tmp_path):
    example = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    file = example["first_test_image"](tmp_path)
    assert Image.open(file).size == (28, 28) and file.name == "Ankle boot.png"


def test_a_search_gives_the_network_that_is_exported(run, capfd):
    best = run.best
    assert run.finished and best.latency.p50_ms <= 50 and 0 < best.test_accuracy <= 1
    files = run.export(run.path / "again")
    assert {file.name for file in files} == {path.name for path in (run.path / "export").iterdir()}
    assert {"model.onnx", "network.py", "predict.py", "weights.safetensors"} < {file.name for file in files}
    image = run.path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(image)
    session = onnxruntime.InferenceSession(str(run.path / "again" / "model.onnx"))
    [logits] = session.run(["logits"], {"image": best.preprocessing(image)})
    expected = torch.from_numpy(logits).softmax(1)[0]
    found = best.classify(image)
    assert [found[name] for name in best.classes] == pytest.approx(expected.tolist(), abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert capfd.readouterr().out == ""


def test_a_run_is_opened_resumed_and_tabulated(run):
    again = nas.open_run(run.path)
    assert again.best == run.best == nas.resume(run.path).best
    frame = again.to_frame()
    assert isinstance(frame, pd.DataFrame) and run.best.id in set(frame["id"])
    assert again.config.trials == 2 and all(network.anchor for network in again.anchors)
    assert [n.genotype for n in again.finalists]


def test_networks_and_their_figures():
    genotype = nas.anchor("mobilenet_v2")
    assert nas.cost(genotype).params == 3_504_872 and nas.cost(genotype.text) == nas.cost(genotype)
    assert nas.build(genotype, classes=7)(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
    assert nas.load_space("mobile").size > 1e20


def test_wrong_input_is_one_error(tmp_path):
    for wrong in (
        lambda: nas.search(nas.SearchConfig(latency_budget_ms=-1.0)),
        lambda: nas.search(nas.SearchConfig(latency_budget_ms=20.0, objectives=("accuracy", "money"))),
        lambda: nas.open_run(tmp_path),
        lambda: nas.anchor("mobilenet_v9"),
        lambda: nas.load_device("pixel"),
    ):
        with pytest.raises(nas.InputError) as error:
            wrong()
        assert "\n" not in str(error.value)


def test_progress_is_shown_to_who_is_passed_in(workshop, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_DATA_HOME", str(workshop / "data"))
    lines = []

    class Shown(Silent):
        def say(self, line):
            lines.append(line)

    config = nas.TrainConfig(
        network=str(workshop / "plain.txt"),
        data=f"imagefolder:{workshop / 'images'}",
        recipe=str(workshop / "quick.yaml"),
        from_scratch=True,
        epochs=1,
    )
    (workshop / "plain.txt").write_text("input 3x24x24\nconv 16/1\nhead\n")
    found = nas.train(config, tmp_path / "trained", Shown())
    assert 0 <= found["test_accuracy"] <= 1 and any(line.startswith("Data: ") for line in lines)
    assert capfd.readouterr().out == ""
