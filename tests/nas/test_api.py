"""The library: a search, its results and a resumed one from Python, as a program uses them; nothing is printed."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import nas
from nas.progress import Silent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(workshop, tmp_path_factory):
    recipe = str(workshop / "quick.yaml")
    config = nas.SearchConfig(
        latency_budget_ms=50.0,
        space=str(workshop / "small.yaml"),
        data=f"imagefolder:{workshop / 'images'}",
        from_scratch=True,
        trials=3,
        finalists=1,
        rivals=1,
        epochs=2,
        final_epochs=2,
        recipe=recipe,
        final_recipe=recipe,
        workers=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(workshop / "data"))
        yield nas.search(config, tmp_path_factory.mktemp("api") / "run")


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
    assert again.config.trials == 3 and {n.anchor for n in again.anchors} == {"mobilenet_v3:small"}
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
