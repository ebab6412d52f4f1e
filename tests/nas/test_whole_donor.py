"""A whole search from a trained network, over two inputs: what is inherited, exported and reported, killed and resumed."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from killed import alone, kill_with_workers, nas, started, wait_for
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from evaluators.data import Preprocessing
from evaluators.data.sets.imagefolder import read
from evaluators.inheritance.donor import load_donor
from evaluators.weights import load_network
from nas import records
from nas.pipeline.ranking import ALIKE
from nas.records import Again, Final, Probe
from nas.run.folder import open_run
from nas.run.memory import counts, read_journal
from search_spaces.genotype import Genotype

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(workshop, two_inputs, donor_folder, photos):
    """The arguments of a search with a donor that takes seconds."""
    return [
        *(
            "search",
            "--space",
            two_inputs,
            "--data",
            f"imagefolder:{photos}",
            "--weights",
            donor_folder,
            "--latency-budget",
            "50ms",
        ),
        *("--trials", 3, "--finalists", 1, "--rivals", 1, "--anchor", "shufflenet_v2:0.5", "--epochs", 2, "--final-epochs", 2),
        *("--workers", 0, "--seed", 1, "--fit", "pad", "--metric", "balanced_accuracy", "--run", "run"),
    ]


@pytest.fixture(scope="module")
def finished(asked, tmp_path_factory):
    """A finished run, and what the command printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = nas(asked, folder, alone)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder / "run", " ".join(done.stdout.split())


def _result(run):
    return json.loads((run / "result.json").read_text())


def test_the_donor_is_kept_in_the_run_and_says_where_it_comes_from(finished, donor_folder):
    run, printed = finished
    kept = load_donor(run / "donor")
    assert kept.name == str(donor_folder) == _result(run)["donor"] == open_run(run).resolved.donor
    assert open_run(run).resolved.mean == list(kept.mean) and f"inherited weights from {donor_folder}." in printed


def test_hand_designed_networks_are_probed_at_every_input_and_trained_at_the_largest_as_good_as_the_best_with_those_asked_for(
    finished,
):
    run, printed = finished
    memory = read_journal(run / "journal.log")
    probes = {probe.anchor: probe.accuracy for probe in memory.records(Probe).values()}
    assert set(probes) == {f"{name}@{side}" for name in ("mobilenet_v3:small", "shufflenet_v2:0.5") for side in (16, 24)}
    entered = {t.anchor: t for t in memory.trials if t.anchor}
    assert entered.keys() == probes.keys()
    chosen = set()
    for family in ("mobilenet_v3:small", "shufflenet_v2:0.5"):
        small, large = f"{family}@16", f"{family}@24"
        chosen.add(large if probes[large] >= probes[small] - ALIKE else small)
    for name, trial in entered.items():
        assert (trial.outcome == "screened") == (name not in chosen) and trial.probe == probes[name]
    assert [entry["probe"] for entry in _result(run)["probed"]] == sorted(probes.values(), reverse=True)
    assert {a["anchor"] for a in _result(run)["anchors"]} == chosen
    assert "probed but not trained" in printed


def test_every_network_says_what_it_inherited_and_what_its_probe_was(finished):
    found = _result(finished[0])
    for entry in [found["best"], *found["finalists"], *found["anchors"]]:
        assert 0 < entry["inherited"] <= 1 and 0 < entry["probe"] <= 1
        assert tuple(entry["input"]) in ((3, 16, 16), (3, 24, 24)) and entry["genotype"].startswith("input 3x")
    trials = read_journal(finished[0] / "journal.log").trials
    asked = [t for t in trials if t.anchor is None and t.outcome not in ("rejected", "repeated")]
    assert all(t.probe is not None and t.inherited is not None for t in asked)
    assert found["counts"] == counts(trials) and found["counts"]["trained"] == 3
    assert found["epochs"] == {"search": 2, "final": 2} and found["fit"] == "pad"


def _card(run):
    return json.loads((run / "export" / "model.json").read_text())


def _answers(run, photos):
    """Of the exported network and of its weights on the files of the test set, by what the export says alone; and labels."""
    card, test = _card(run), read(photos, False).test
    seen = Preprocessing.from_json(card["preprocessing"])
    session = onnxruntime.InferenceSession(str(run / "export" / "model.onnx"))
    genotype = Genotype.parse((run / "export" / "genotype.txt").read_text())
    network = load_network(genotype, genotype.task(len(card["classes"])), run / "export" / "weights.safetensors")
    images = [seen(file) for file in test.items]
    exported = np.concatenate([session.run(["logits"], {"image": image})[0] for image in images])
    with torch.no_grad():
        own = np.concatenate([network(torch.from_numpy(image)).numpy() for image in images])
    return exported, own, test.labels


def test_the_export_is_of_the_winner_at_its_own_input_and_seen_as_it_was_trained(finished):
    run, best = finished[0], _result(finished[0])["best"]
    session = onnxruntime.InferenceSession(str(run / "export" / "model.onnx"))
    assert session.get_inputs()[0].shape == [1, *best["input"]]
    assert (run / "export" / "genotype.txt").read_text() == best["genotype"]
    card, known = _card(run), open_run(run).resolved
    seen = Preprocessing.from_json(card["preprocessing"])
    assert seen == open_run(run).preprocessing(tuple(best["input"]))
    assert (seen.fit, seen.interpolation, list(seen.mean)) == ("pad", "bilinear", known.mean)
    assert {p.name for p in (run / "export").iterdir()} > {"weights.safetensors", "model.onnx", "network.py", "predict.py"}


def test_an_original_photo_gives_the_logits_of_the_fine_tuned_network_and_the_accuracy_that_is_said(finished, photos):
    run, found = finished[0], _result(finished[0])
    exported, own, labels = _answers(run, photos)
    np.testing.assert_allclose(exported, own, atol=1e-3 * np.abs(own).max())
    predicted = exported.argmax(1)
    scores = {
        "top1": accuracy_score(labels, predicted),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "macro_f1": f1_score(labels, predicted, average="macro"),
    }
    kept = read_journal(run / "journal.log").records(records.Tested)[found["best"]["id"]]
    assert {name: getattr(kept, name) for name in scores} == pytest.approx(scores)
    assert found["metric"] == "balanced_accuracy" == _card(run)["accuracy"]["metric"]
    assert found["best"]["test_by_seed"][0] == pytest.approx(scores["balanced_accuracy"])
    assert _card(run)["accuracy"]["test"] == found["best"]["test_by_seed"][0]


def _facts(run):
    """All that was decided and learnt but for times."""
    memory = read_journal(run / "journal.log")
    trials = [(t.origin, t.genotype.text, t.outcome, t.probe, t.inherited, t.accuracies) for t in memory.trials]
    learnt = {
        (kind, key): (note.accuracy, getattr(note, "accuracies", None), note.inherited)
        for kind in (Probe, Final, Again)
        for key, note in memory.records(kind).items()
    }
    return trials, learnt, {key: test.accuracy for key, test in memory.records(records.Tested).items()}


def test_killed_before_the_first_training_and_among_the_last_and_resumed_it_is_the_search_that_was_never_interrupted(
    finished, asked, tmp_path
):
    journal = tmp_path / "run" / "journal.log"

    def memory():
        return read_journal(journal) if journal.is_file() else None

    reached = [
        lambda: (m := memory()) and len(m.records(Probe)) >= 2,
        lambda: (m := memory()) and len(m.records(Final)) >= 1,
    ]
    command = asked
    for until in reached:
        process = started(command, tmp_path, alone)
        wait_for(until, process)
        kill_with_workers(process)
        command = ["resume", "run"]
    done = nas(command, tmp_path, alone)
    assert done.returncode == 0, done.stderr
    assert _facts(tmp_path / "run") == _facts(finished[0])
    assert _result(tmp_path / "run")["best"]["id"] == _result(finished[0])["best"]["id"]
    a, b = (Path(run, "export", "weights.safetensors").read_bytes() for run in (tmp_path / "run", finished[0]))
    assert a == b
