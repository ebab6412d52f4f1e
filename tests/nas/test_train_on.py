"""`nas train` from what was learnt before: a donor's weights, a run's, those of an earlier training; resumed, or refused."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from made_up_search import Executor, Predictor, Timer, View
from safetensors.numpy import load_file

from evaluators.data import load
from evaluators.training.batches import Batches
from evaluators.training.loop import Training
from evaluators.training.metrics import evaluate
from evaluators.weights import load_network
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.report.result import result
from search_spaces.genotype import Genotype

GENOTYPE = "input 3x16x16\nconv 8/1 act=relu\ninverted_residual 16/2 expand=2\nhead dropout=0.2\n"


@pytest.fixture
def train(nas_here, workshop, tmp_path):
    """Trains shortly into a folder; returns (result, what was printed)."""
    (tmp_path / "net.txt").write_text(GENOTYPE)

    def run(what, folder, *more):
        arguments = ["--recipe", workshop / "quick.yaml", "--epochs", 1, "--to", folder, *more]
        code, out, err = nas_here("train", what, *arguments)
        assert code == 0, err
        return json.loads((tmp_path / folder / "result.json").read_text()), " ".join(out.split())

    return run


@pytest.fixture
def images(workshop):
    return ["--data", f"imagefolder:{workshop / 'images'}"]


@pytest.fixture
def done(made_run):
    """A run whose best network was retrained, as far as its weights go."""
    run = made_run(trials=2, sampler="random")
    dataset = load(run.config.data, inputs=[(3, 16, 16)])
    Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
    return run, result(run)["best"]


@pytest.fixture
def beginning(monkeypatch):
    """Of each training that begins, the scores of its network on its validation set before the first epoch."""
    seen, whole = [], Training.epoch

    def epoch(self):
        if not self.history:
            seen.append(evaluate(self.network, self._validation))
        return whole(self)

    monkeypatch.setattr(Training, "epoch", epoch)
    return seen


def test_it_inherits_from_a_folder_of_an_earlier_training(train, images, donor_folder, tmp_path):
    found, printed = train("net.txt", "out", *images, "--weights", donor_folder)
    assert found["begins"] == f"inherited from {donor_folder}" and f"Initial weights: inherited from {donor_folder}" in printed
    assert "of the weights inherited; linear probe" in printed
    kept, original = (load_file(f / "weights.safetensors") for f in (tmp_path / "out" / "donor", donor_folder))
    assert all(np.array_equal(kept[name], tensor) for name, tensor in original.items())
    cards = [json.loads((f / "export" / "model.json").read_text())["preprocessing"] for f in (tmp_path / "out", donor_folder)]
    assert (cards[0]["mean"], cards[0]["std"]) == (cards[1]["mean"], cards[1]["std"])
    again, _ = train("net.txt", "again", *images, "--weights", "out")
    assert again["begins"] == "inherited from out"


@pytest.mark.parametrize("named", [False, True])
def test_it_goes_on_from_the_weights_and_the_accuracy_that_a_run_left(train, done, beginning, tmp_path, named):
    run, best = done
    found, printed = train(f"{run.path}:{best['anchor'] or best['id']}" if named else run.path, "out")
    assert found["begins"] == "the weights of run" and "inherited" not in printed.split("Initial weights")[0]
    assert (tmp_path / "out" / "begin.safetensors").read_bytes() == run.weights(best["id"]).read_bytes()
    genotype = Genotype.parse(best["genotype"])
    network = load_network(genotype, genotype.task(3), run.weights(best["id"]))
    validation = load(run.config.data, inputs=[(3, 16, 16)]).validation
    shown = Batches.of(validation, run.preprocessing((3, 16, 16)), torch.device("cpu"))
    assert beginning == [evaluate(network, shown)]
    assert not (tmp_path / "out" / "donor").exists()


def test_what_a_run_left_serves_at_another_input_too(train, done, tmp_path):
    run, best = done
    found, _ = train(run.path, "out", "--input", 24)
    assert found["begins"] == "the weights of run" and found["input"] == [3, 24, 24]
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "export" / "model.onnx"))
    assert session.get_inputs()[0].shape == [1, 3, 24, 24]
    card = json.loads((tmp_path / "out" / "export" / "model.json").read_text())
    assert card["preprocessing"]["input"] == [3, 24, 24]
    assert (tmp_path / "out" / "begin.safetensors").read_bytes() == run.weights(best["id"]).read_bytes()


def test_other_weights_or_none_may_be_asked_for(train, done, donor_folder):
    run, _ = done
    assert train(run.path, "scratch", "--from-scratch")[0]["begins"] == "random"
    assert train(run.path, "given", "--weights", donor_folder)[0]["begins"] == f"inherited from {donor_folder}"


def test_weights_for_other_classes_are_refused_in_one_message(nas_here, done, photos, tmp_path):
    code, _, err = nas_here("train", done[0].path, "--data", f"imagefolder:{photos}", "--to", "out")
    assert code == 2 and err.count("\n") == 1 and "Traceback" not in err
    assert "the weights of run are for 3 classes (left, middle, top" in err and "--weights FOLDER" in err
    assert not (tmp_path / "out").exists()


def test_interrupted_and_resumed_with_a_donor_it_ends_with_the_same_weights(
    train, nas_here, images, donor_folder, workshop, tmp_path, monkeypatch
):
    more = [*images, "--weights", donor_folder, "--recipe", workshop / "quick.yaml", "--epochs", 3]
    train("net.txt", "whole", *more)
    whole = Training.epoch

    def epoch(self):
        if len(self.history) == 1:
            raise KeyboardInterrupt
        return whole(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", epoch)
        code, _, _ = nas_here("train", "net.txt", "--to", "part", *more)
    assert code == 130
    assert nas_here("resume", "part")[0] == 0
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "part"))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_fit_and_metric_are_what_is_trained_reported_and_exported(train, photos, donor_folder, tmp_path):
    flags = ["--fit", "pad", "--metric", "balanced_accuracy"]
    found, _ = train("net.txt", "out", "--data", f"imagefolder:{photos}", "--weights", donor_folder, *flags)
    card = json.loads((tmp_path / "out" / "export" / "model.json").read_text())
    assert card["preprocessing"]["fit"] == "pad" and card["accuracy"]["metric"] == "balanced_accuracy" == found["metric"]
    assert found["test_accuracy"] == found["test_scores"]["balanced_accuracy"] == card["accuracy"]["test"]
    assert found["validation_accuracy"] == found["epochs"][-1]["scores"]["balanced_accuracy"]


@pytest.mark.slow
def test_the_installed_network_is_the_donor_where_none_is_named(train, images, tmp_path):
    found, printed = train("efficientnet_lite:lite0-tf", "out", *images, "--input", 32)
    assert found["begins"] == "inherited from efficientnet_lite:lite0-tf" and "100% of the weights inherited" in printed
    assert found["input"] == [3, 32, 32] and "padding=same" in found["genotype"]
    card = json.loads((tmp_path / "out" / "export" / "model.json").read_text())["preprocessing"]
    assert card["mean"] == pytest.approx([127 / 255] * 3) and card["std"] == pytest.approx([128 / 255] * 3)
