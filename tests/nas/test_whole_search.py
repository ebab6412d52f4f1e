"""Whole searches as a user runs them: the result, its files, commands that read it, failing candidates."""

import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from killed import nas
from PIL import Image

from evaluators.data import load
from evaluators.training.batches import Batches
from evaluators.training.loop import epochs, seeded_network
from nas.run.folder import open_run
from nas.run.memory import counts, read_journal
from nas.seeds import training_seed
from search_spaces.genotype import read_genotype

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(workshop, tmp_path_factory):
    """A finished run, and what the command printed."""
    folder = tmp_path_factory.mktemp("finished")
    arguments = [
        *("search", "--from-scratch", "--space", workshop / "small.yaml", "--data", f"imagefolder:{workshop / 'images'}"),
        *("--latency-budget", "50ms", "--trials", 4, "--epochs", 2, "--final-epochs", 2, "--finalists", 2),
        *("--recipe", workshop / "quick.yaml", "--final-recipe", workshop / "quick.yaml"),
        *("--run", "run", "--workers", 2),  # a relative path, as in `runs/...`
    ]
    done = nas(arguments, folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder / "run", done.stdout


def _result(run: Path):
    return json.loads((run / "result.json").read_text())


def test_the_result_says_everything_and_the_budget_is_kept(finished):
    run, printed = finished
    found = _result(run)
    best = found["best"]
    assert 0 < best["p50_ms"] <= found["budget_ms"] == 50 and best["p50_ms"] <= best["p90_ms"]
    assert best["test_accuracy"] > 0.5 and found["finished"]
    assert found["counts"]["trained"] == 4
    for entry in [best, *found["finalists"], *found["anchors"]]:
        for key in ("genotype", "p50_ms", "p90_ms", "validation_accuracy", "params", "macs"):
            assert entry[key] is not None, key
    assert [a["anchor"] for a in found["anchors"]] == ["mobilenet_v3:small"]
    assert found["anchors"][0]["predicted_ms"] is None or found["anchors"][0]["predicted_ms"] > 0
    assert all(entry["input"] == [3, 16, 16] for entry in [best, *found["finalists"], *found["anchors"]])
    assert found["donor"] is None and "All networks were randomly initialised" in printed.replace("\n", " ")
    for word in ("seed", "versions", "machine", "wall_seconds"):
        assert found[word] not in (None, {})
    assert found["verdict"] in printed.replace("\n", " ")


def test_the_winner_was_chosen_on_validation_and_test_was_touched_only_for_the_table(finished):
    found = _result(finished[0])
    held = [e for e in found["finalists"] + found["anchors"] if e["p50_ms"] <= found["budget_ms"]]
    assert found["best"]["validation_accuracy"] == max(e["validation_accuracy"] for e in held)
    shown = {found["found"]["id"], *(a["id"] for a in found["anchors"])}
    tested = {e["id"] for e in found["finalists"] + found["anchors"] if e["test_accuracy"] is not None}
    assert tested == shown


def test_counts_agree_with_the_journal(finished):
    run, _ = finished
    assert _result(run)["counts"] == counts(read_journal(run / "journal.log").trials)


def test_exported_files_work_without_this_project(finished, workshop):
    run, _ = finished
    found, card = _result(run), json.loads((run / "export" / "model.json").read_text())
    assert read_genotype(run / "export" / "genotype.txt").text == found["best"]["genotype"]
    session = onnxruntime.InferenceSession(str(run / "export" / "model.onnx"))
    right = []
    for label, name in enumerate(card["classes"]):
        for i in range(40):
            pixels = np.asarray(Image.open(workshop / "images" / name / f"{i}.png"), np.float32) / 255
            image = (pixels - card["preprocessing"]["mean"]) / card["preprocessing"]["std"]
            logits = session.run(["logits"], {"image": image.transpose(2, 0, 1)[None].astype(np.float32)})[0]
            right.append(logits.argmax() == label)
    assert np.mean(right) > 0.5


def test_every_trial_of_several_workers_can_be_trained_again_from_its_recorded_seed(finished):
    run = open_run(finished[0])
    config = run.config
    dataset, cpu = load(config.data, inputs=run.space().inputs), torch.device("cpu")
    train, validation = (
        Batches.of(split, dataset.preprocessing(dataset.inputs[0], *dataset.mean_std()), cpu)
        for split in (dataset.train, dataset.validation)
    )
    task = run.space().task(len(dataset.classes))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker of two on two processors
    try:
        for trial in (t for t in read_journal(run.journal).trials if t.accuracies):
            seed = training_seed(config.seed, trial.genotype, "search")
            network, generator = seeded_network(trial.genotype, task, seed, cpu)
            again = [e.accuracy for e in epochs(network, train, validation, run.resolved.recipe, generator)]
            assert tuple(again[: len(trial.accuracies)]) == trial.accuracies
    finally:
        torch.set_num_threads(threads)


def test_derived_files(finished):
    run, _ = finished
    rows = list(csv.DictReader((run / "front.csv").open()))
    assert len(rows) >= 4 and any(row["on_front"] == "True" for row in rows)
    with Image.open(run / "pareto.png") as image:
        assert image.size[0] > 500
    assert (run / "pareto.svg").read_text().lstrip().startswith("<?xml")
    assert "mobilenet_v3:small" in (run / "pareto.svg").read_text()


def test_other_commands_read_the_run(finished, nas_anywhere, tmp_path):
    run, _ = finished
    for arguments in (["status", run], ["show", run], ["export", run, "--to", "there"]):
        code, _, err = nas_anywhere(*arguments)
        assert code == 0, err
    assert (tmp_path / "there" / "model.onnx").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not delete")
    assert nas_anywhere("export", run, "--to", "mine")[0] == 2
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    code, _, err = nas_anywhere("export", run, "--network", "mobilenet_v3:smal")
    assert code == 2 and "mobilenet_v3:small" in err


def test_a_float32_run_is_exported_in_int8(finished, nas_anywhere, tmp_path):
    run, _ = finished
    before = json.loads((run / "export" / "model.json").read_text())
    code, _, err = nas_anywhere("export", run, "--precision", "int8", "--to", "int8")
    assert code == 0, err
    card = json.loads((tmp_path / "int8" / "model.json").read_text())
    assert card["figures_of"] == "model.int8.onnx" and (tmp_path / "int8" / "model.int8.onnx").is_file()
    assert card["float32"]["test"] == before["accuracy"]["test"] and 0 < card["accuracy"]["test"] <= 1
    assert card["accuracy"]["validation"] is None and card["latency_ms"]["p50_ms"] is None


def test_resuming_a_finished_run_trains_nothing(finished):
    run, _ = finished
    before = _result(run)
    trials = read_journal(run / "journal.log").trials
    done = nas(["resume", run], run.parent)
    assert done.returncode == 0, done.stderr
    assert read_journal(run / "journal.log").trials == trials
    after = _result(run)
    assert {k: v for k, v in after.items() if k != "wall_seconds"} == {k: v for k, v in before.items() if k != "wall_seconds"}


def test_a_second_process_on_one_run_is_refused(finished):
    run, _ = finished
    from nas.run.lock import Lock

    lock = Lock(open_run(run).path)
    done = nas(["resume", run], run.parent)
    lock.release()
    assert done.returncode == 2 and "another process is working on" in done.stderr
