"""`nas train`: its files and result, kill and resume to the same weights, teachers, and one message for what is wrong."""

import json
import signal

import numpy as np
import onnxruntime
import pytest
import yaml
from killed import alone, kill_with_workers, started, wait_for
from made_up_search import Executor, Predictor, Timer, View
from safetensors.numpy import load_file

from evaluators.data import load
from evaluators.training.loop import Training
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.report.result import result
from nas.run.find import find_run
from nas.run.folder import open_run
from search_spaces.genotype import Genotype

GENOTYPE = "input 3x16x16\nconv 8/1 act=relu\ninverted_residual 16/2 expand=2\nhead dropout=0.2\n"


@pytest.fixture
def asked(workshop, tmp_path):
    """The arguments of a training that takes seconds; it ends with dropout, so that every generator counts."""
    (tmp_path / "net.txt").write_text(GENOTYPE)
    return [
        *(
            "train",
            "net.txt",
            "--from-scratch",
            "--data",
            f"imagefolder:{workshop / 'images'}",
        ),
        *("--recipe", workshop / "quick.yaml", "--epochs", 3),
    ]


@pytest.fixture
def train(nas_here, asked, tmp_path):
    """Trains into a folder; returns (result, what was printed)."""

    def run(folder, *more):
        code, out, err = nas_here(*asked, "--to", folder, *more)
        assert code == 0, err
        return json.loads((tmp_path / folder / "result.json").read_text()), out

    return run


def _stop_after(monkeypatch, epochs):
    """Ctrl-C in the epoch after that many."""
    whole = Training.epoch

    def epoch(self):
        if len(self.history) == epochs:
            raise KeyboardInterrupt
        return whole(self)

    monkeypatch.setattr(Training, "epoch", epoch)


def test_the_result_and_the_files(train, workshop, tmp_path):
    found, printed = train("out", "--seed", 3)
    assert found["input"] == [3, 16, 16] and found["begins"] == "random"
    assert [e["number"] for e in found["epochs"]] == [1, 2, 3] and found["recipe"]["epochs"] == 3 and found["seed"] == 3
    assert found["validation_accuracy"] == found["epochs"][-1]["accuracy"] > 0.5
    assert found["genotype"] == Genotype.parse(GENOTYPE).text and found["distilled_from"] is None
    assert f"test {found['test_accuracy']:.2%}" in printed and "Ready to deploy: out/export" in printed
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files == {".lock", *("train.yaml", "genotype.txt", "curve.json", "weights.safetensors", "result.json", "export")}
    assert _accuracy(tmp_path / "out" / "export", workshop) == pytest.approx(found["test_accuracy"], abs=1e-9)


def _accuracy(export, workshop):
    """Of the exported file on the test set, by ONNX Runtime and the preprocessing that model.json states."""
    card = json.loads((export / "model.json").read_text())
    mean, std = (np.array(card["preprocessing"][k]).reshape(1, 3, 1, 1) for k in ("mean", "std"))
    test = load(f"imagefolder:{workshop / 'images'}", inputs=[(3, 16, 16)]).test
    session = onnxruntime.InferenceSession(str(export / "model.onnx"))
    images = ((test.images.arrays[16, 16] / 255 - mean) / std).astype(np.float32)
    answers = [session.run(["logits"], {"image": image[None]})[0].argmax() for image in images]
    return float(np.mean(np.array(answers) == test.labels))


def test_how_much_is_printed(train, nas_here, tmp_path):
    found, printed = train("out", "--epochs", 1)
    assert "epoch    1" in printed
    _, quiet = train("quiet", "--epochs", 1, "--quiet")
    assert "epoch" not in quiet.partition("\n")[0] and f"test {found['test_accuracy']:.2%}" in quiet
    again, printed = train("json", "--epochs", 1, "--json")
    assert json.loads(printed) == again and again["test_accuracy"] == found["test_accuracy"]
    code, out, _ = nas_here("resume", "json", "--json")
    assert code == 0 and json.loads(out) == again
    code, _, err = nas_here("resume", "json", "--json", "--quiet")
    assert code == 2 and "mutually exclusive" in err


def test_interrupted_and_resumed_it_ends_with_the_same_weights(train, nas_here, asked, tmp_path, monkeypatch):
    whole, _ = train("whole")
    with monkeypatch.context() as patch:
        _stop_after(patch, 1)
        code, out, err = nas_here(*asked, "--to", "part")
    assert code == 130 and "nas resume part" in out and "Traceback" not in err
    assert [p.name for p in (tmp_path / "part").glob("checkpoint-*")] == ["checkpoint-00001"]
    code, out, _ = nas_here("status", "part")
    assert code == 0 and "interrupted; continue with `nas resume part`" in out and "1 of 3 epochs" in out
    code, _, err = nas_here("resume", "part")
    assert code == 0, err
    resumed = json.loads((tmp_path / "part" / "result.json").read_text())
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "part"))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
    assert resumed["test_accuracy"] == whole["test_accuracy"]
    assert [e["loss"] for e in resumed["epochs"]] == [e["loss"] for e in whole["epochs"]]
    assert not list((tmp_path / "part").glob("checkpoint-*"))


def test_what_is_over_is_shown_again_and_not_trained(train, nas_here, monkeypatch):
    found, _ = train("out", "--epochs", 1)
    _stop_after(monkeypatch, 0)
    code, out, err = nas_here("resume", "out")
    assert code == 0, err
    assert f"test {found['test_accuracy']:.2%}" in out


@pytest.fixture
def pruning(tmp_path, workshop):
    """Options of a training that prunes a network in its second of three epochs."""
    (tmp_path / "net.txt").write_text("input 3x16x16\nconv 8/2\nnorm_act\nconv 16/1\nhead dropout=0.2\n")
    recipe = yaml.safe_load((workshop / "quick.yaml").read_text())
    recipe["surgery"] = {"kind": "prune_inputs", "share": 0.5, "at": [0.4, 0.5], "l1": 0.0001}
    (tmp_path / "pruning.yaml").write_text(yaml.safe_dump(recipe))
    return ["--recipe", "pruning.yaml"]


def test_a_surgery_changes_the_network_that_is_tested_and_exported(train, pruning, workshop, tmp_path):
    found, printed = train("out", *pruning)
    before = tmp_path / "net.txt"
    assert found["before"]["genotype"] == (tmp_path / "out" / "before.txt").read_text() == before.read_text()
    assert found["genotype"] == (tmp_path / "out" / "genotype.txt").read_text()
    assert "conv 8/2\nselect 4\nnorm_act\nconv 16/1" in found["genotype"]
    assert f"Surgery prune_inputs: {found['before']['params']:,} to {found['params']:,} params" in printed
    assert found["params"] < 0.7 * found["before"]["params"] and found["macs"] < found["before"]["macs"]
    assert _accuracy(tmp_path / "out" / "export", workshop) == pytest.approx(found["test_accuracy"], abs=1e-9)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_surgery_goes_on_where_it_was_interrupted(train, pruning, nas_here, asked, tmp_path, monkeypatch, epochs):
    train("whole", *pruning)
    with monkeypatch.context() as patch:
        if epochs < 3:
            _stop_after(patch, epochs)
        else:
            patch.setattr("nas.training.fitting.save_weights", _interrupted)
        assert nas_here(*asked, *pruning, "--to", "part")[0] == 130
    code, _, err = nas_here("resume", "part")
    assert code == 0, err
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "part"))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
    a, b = ((tmp_path / name / "genotype.txt").read_text() for name in ("whole", "part"))
    assert a == b


def _interrupted(*_):
    raise KeyboardInterrupt


def test_killed_within_the_epoch_that_prunes_it_ends_with_the_same_network(train, pruning, nas_here, asked, tmp_path):
    recipe = yaml.safe_load((tmp_path / "pruning.yaml").read_text())
    (tmp_path / "pruning.yaml").write_text(yaml.safe_dump(recipe | {"least_images": 3000}))
    train("whole", *pruning)
    process = started([*asked, *pruning, "--to", "part"], tmp_path, alone)
    wait_for(lambda: (tmp_path / "part" / "checkpoint-00001").is_dir(), process)
    kill_with_workers(process)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "part" / "result.json").exists()
    code, _, err = nas_here("resume", "part")
    assert code == 0, err
    for file in ("weights.safetensors", "genotype.txt"):
        assert (tmp_path / "part" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_trained_folder_teaches(train, tmp_path):
    train("teacher", "--epochs", 2)
    by_itself, _ = train("alone", "--epochs", 1)
    for number, teacher in enumerate(("teacher", "teacher/export", "teacher/weights.safetensors")):
        taught, printed = train(f"taught{number}", "--epochs", 1, "--distill", teacher)
        assert taught["distilled_from"] == teacher and f"distilled from {teacher}" in printed
        assert taught["teacher_epochs"] == []
        assert taught["epochs"][0]["loss"] != by_itself["epochs"][0]["loss"]
    original = (tmp_path / "teacher" / "weights.safetensors").read_bytes()
    assert (tmp_path / "taught0" / "teacher" / "weights.safetensors").read_bytes() == original


def test_an_anchor_that_teaches_is_trained_first_and_once(train, nas_here, asked, tmp_path, monkeypatch):
    more = ["--distill", "shufflenet_v2:0.5", "--epochs", 1]
    with monkeypatch.context() as patch:
        whole, seen = Training.epoch, []

        def epoch(self):
            seen.append(self)
            if len(seen) == 2:
                raise KeyboardInterrupt
            return whole(self)

        patch.setattr(Training, "epoch", epoch)
        code, _, _ = nas_here(*asked, "--to", "out", *more)
    assert code == 130
    first = (tmp_path / "out" / "teacher" / "weights.safetensors").read_bytes()
    assert nas_here("resume", "out")[0] == 0
    assert (tmp_path / "out" / "teacher" / "weights.safetensors").read_bytes() == first
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["distilled_from"] == "shufflenet_v2:0.5" and len(found["teacher_epochs"]) == 1


@pytest.mark.parametrize("named", [False, True])
def test_a_runs_network_is_trained_on_its_data(named, made_run, nas_here, workshop, tmp_path):
    run = made_run(trials=2, sampler="random")
    dataset = load(run.config.data, inputs=[(3, 16, 16)])
    Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
    best = result(run)["best"]
    what = f"{run.path}:{best['anchor'] or best['id']}" if named else run.path
    code, _, err = nas_here("train", what, "--recipe", workshop / "quick.yaml", "--epochs", 1, "--to", "out")
    assert code == 0, err
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["genotype"] == best["genotype"] and found["data"] == run.config.data
    assert found["input"] == [3, 16, 16]


def test_a_network_of_a_run_may_have_a_colon_in_its_name(made_run):
    run = made_run()
    assert find_run(f"{run.path}:mobilenet_v3:small") == (open_run(run.path), "mobilenet_v3:small")
    assert find_run(str(run.path)) == (open_run(run.path), "") and find_run("mobilenet_v3:small") == (None, "")


@pytest.fixture
def refused(nas_here, asked, tmp_path):
    def run(*more):
        code, _, err = nas_here(*asked, "--to", "out", *more)
        assert code == 2 and "Traceback" not in err, err
        assert not (tmp_path / "out").exists()
        return err

    return run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipe", "ful"], 'did you mean "full"'),
        (["--data", "imagefolder:nowhere"], "nowhere"),
        (["--distill", "mobilenet_v9"], 'did you mean "mobilenet_v'),
        (["--distill", "no/where"], "no/where holds no trained network"),
        (["--distill", "net.txt"], "net.txt holds no trained network"),
        (["--epochs", "0"], "--epochs"),
        (["--input", "4"], "an input is 8 to 4096 pixels high and wide, not 4x4"),
        (["--weights", "mobilenet_v2=none.pth"], "mutually exclusive"),
        (["--recipe", "sparse_densenet"], "prune_inputs changes convolutions right after a norm_act, which this network lacks"),
        (
            ["--recipe", "condensenet"],
            "condense changes lgc blocks, which this network lacks; it has conv, head, inverted_residual",
        ),
        (["--space", "mobil"], "--space has no effect here: net.txt specifies its input"),
    ],
)
def test_wrong_flags(refused, flags, message):
    assert message in refused(*flags)


def test_a_wrong_network_and_a_folder_that_is_taken(nas_here, asked, tmp_path):
    for what, message in (("mobilenet_v9", 'did you mean "mobilenet_v'), ("no/net.txt", "neither a genotype file")):
        code, _, err = nas_here("train", what, "--to", "out")
        assert code == 2 and message in err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not delete")
    code, _, err = nas_here(*asked, "--to", "mine")
    assert code == 2 and "mine already exists" in err and (tmp_path / "mine" / "thesis.txt").is_file()


def test_a_teacher_of_other_classes_is_refused(train, refused, nas_here):
    train("teacher", "--epochs", 1)
    assert "cannot be the teacher for 10 classes" in refused("--distill", "teacher", "--data", "fashion-mnist-small")


def test_a_loss_that_is_not_finite_ends_in_one_message(nas_here, asked, workshop, tmp_path):
    text = (workshop / "quick.yaml").read_text()
    (tmp_path / "hot.yaml").write_text(text.replace("learning_rate: 0.1", "learning_rate: 1.0e+9"))
    code, _, err = nas_here(*asked, "--recipe", "hot.yaml", "--to", "out")
    assert code == 2 and "the loss was" in err and "learning_rate" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: 6", "format: 4", "format 4, but this version reads format 6"),
        ("interpolation", "interpolatoin", "damaged"),
        ("epochs: 3", "epochs: four", "epochs must be a whole number"),
    ],
)
def test_a_damaged_folder_is_named(nas_here, asked, tmp_path, monkeypatch, old, new, message):
    with monkeypatch.context() as patch:
        _stop_after(patch, 0)
        nas_here(*asked, "--to", "out")
    plan = tmp_path / "out" / "train.yaml"
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new, 1))
    code, _, err = nas_here("resume", "out")
    assert code == 2 and message in err and "Traceback" not in err
