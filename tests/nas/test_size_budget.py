"""Budgets of size and memory, beside a latency budget or alone: candidates are within them, and both are shown."""

import json

import numpy as np
import pytest
from made_up_search import Executor, Predictor, Timer, View
from rich.console import Console

from evaluators.cost import cost
from evaluators.data import Dataset, Split
from evaluators.limits import bytes_text
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.report import files, table
from nas.report.result import result
from nas.run.memory import read_journal
from search_spaces.genotype import Genotype


@pytest.fixture
def searched(made_run):
    """Carries a made-up search out with the settings given; returns (result, trials of the search, whole table as text)."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (8, 3, 16, 16)).astype(np.uint8), np.arange(8) % 2)
    dataset = Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")

    def go(**settings):
        usual = {"data": "made", "classes": ["a", "b"], "trials": 8, "sampler": "random"}
        run = made_run(**{**usual, "latency_budget_ms": None, **settings})
        Search(State(run, dataset, Predictor(), Executor, View(), timer=Timer(lambda _: 5.0))).run()
        console = Console(record=True, width=200)
        table.show(console, found := result(run))
        trials = [t for t in read_journal(run.journal).trials if t.anchor is None]
        return found, trials, console.export_text()

    return go


def _needs(text):
    genotype = Genotype.parse(text)
    found = cost(genotype, genotype.task(2))
    return found.size_bytes("float32"), found.memory_bytes("float32")


@pytest.mark.parametrize("latency_ms", [None, 50.0])
def test_what_is_trained_is_within_size_and_memory_(searched, latency_ms):
    most = (7e3, 24e3)
    found, trials, shown = searched(latency_budget_ms=latency_ms, size_budget_bytes=most[0], memory_budget_bytes=most[1])
    trained = [t for t in trials if t.outcome in ("trained", "stopped")]
    assert len(trained) >= 8 and found["finished"]
    for trial in trained:
        needs = _needs(trial.genotype.text)
        assert needs == (trial.estimate.size_bytes, trial.estimate.memory_bytes)
        assert all(need <= limit for need, limit in zip(needs, most, strict=True))
    rejected = {t.reason.partition(" ")[0] for t in trials if t.outcome == "rejected"}
    assert rejected <= {"weights", "memory"}
    best = found["best"]
    assert (best["size_bytes"], best["memory_bytes"]) == _needs(best["genotype"])
    assert all(bytes_text(best[key]) in shown for key in ("size_bytes", "memory_bytes", "bytes"))
    assert f"weights {bytes_text(most[0])}, memory {bytes_text(most[1])}" in shown


def test_a_run_stopped_before_anything_was_trained_has_a_plot(made_run):
    run = made_run(latency_budget_ms=None, size_budget_bytes=1e6)
    files.write(run)
    assert (run.path / "pareto.png").is_file() and (run.path / "result.json").is_file()


def test_sizes_that_nothing_has_are_refused_before_the_device_is_measured(nas_anywhere, workshop, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "never measured"))
    small = ("--space", workshop / "small.yaml", "--data", f"imagefolder:{workshop / 'images'}", "--from-scratch")
    code, out, err = nas_anywhere("search", *small, "--size-budget", "100B", "--memory-budget", "1KB")
    assert code == 2 and "Measuring" not in out
    assert "is within weights 100 B, memory 1 KB: the smallest has weights of" in err and "; the tightest is " in err


def test_without_a_latency_budget_everything_measured_holds(searched):
    found, _, shown = searched(size_budget_bytes=1e6)
    assert found["budget_ms"] is None and found["best"]["p50_ms"] == 5.0 and all(a["fits"] for a in found["anchors"])
    assert "it was not limited" in shown and "NOT measured" not in shown
    assert json.loads(json.dumps(found, allow_nan=False)) == found
