"""`nas best`: a run's front answers for other budgets."""

import re
from dataclasses import replace

import numpy as np
import pytest
from made_up_search import Executor, Predictor, Timer, View
from made_up_search import retrained as made_up

from evaluators.data import Dataset, Split
from nas.budget.latency_budget import SPARE
from nas.pipeline.search import Search
from nas.pipeline.state import State
from nas.records import Final
from nas.report.front import retrained
from nas.report.result import result
from nas.run.memory import read_journal
from nas.run.notes import as_json


class Graded(Predictor):
    """Predicts by size, so that there is a front."""

    def predict(self, genotype, task):
        size = sum(b.width or 0 for b in genotype.blocks) / 10
        return type(self.prediction)(ms=size, bound_ms=1.1 * size, extrapolated=0.0)

    def covered(self, genotypes, task):
        return [self.predict(g, task) for g in genotypes]


@pytest.fixture
def done(made_run):
    """A finished run with two objectives."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (8, 3, 16, 16)).astype(np.uint8), np.arange(8) % 2)
    dataset = Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")
    settings = {
        "latency_budget_ms": 20.0,
        "trials": 10,
        "finalists": 3,
        "objectives": ("accuracy", "latency"),
        "sampler": "surrogate",
    }
    run = made_run(data="made", classes=["a", "b"], **settings)
    Search(State(run, dataset, Graded(), Executor, View(), timer=Timer(lambda i: 2.0 + int(i[:2], 16) / 16))).run()
    return run


def _rows(out):
    """(name, ms, accuracy, measured) of each row of the table."""
    found = re.findall(r"│ (\S+)\s+│\s+([0-9.]+) │\s+[0-9.]+ │\s+([0-9.]+)% │ (measured|predicted)", out)
    return [(name, float(ms), float(accuracy) / 100, how == "measured") for name, ms, accuracy, how in found]


def test_the_whole_front_rises_in_latency_and_accuracy(done, nas_here):
    code, out, _ = nas_here("best", done.path)
    assert code == 0
    for measured in (True, False):
        rows = [r for r in _rows(out) if r[3] == measured]
        assert rows and rows == sorted(rows, key=lambda r: r[1]) == sorted(rows, key=lambda r: r[2])


def test_another_budget_is_answered_by_the_best_that_was_measured_within_it(done, nas_here):
    entries = [e for e in result(done)["finalists"] + result(done)["anchors"] if e["validation_accuracy"] is not None]
    left = 1 - SPARE["float32"]
    budget = sorted(e["p50_ms"] for e in entries)[len(entries) // 2] / left
    code, out, _ = nas_here("best", done.path, "--latency-budget", f"{budget}ms")
    expected = max((e for e in entries if e["p50_ms"] / left <= budget), key=lambda e: e["validation_accuracy"])
    [(name, ms, accuracy, measured), *_] = _rows(out)
    assert code == 0 and measured and name in (expected["id"], expected["anchor"])
    assert (ms, accuracy) == (
        pytest.approx(expected["p50_ms"], abs=0.005),
        pytest.approx(expected["validation_accuracy"], abs=5e-5),
    )
    assert f"nas export {done.path} --network {name}" in out


def _retrained(run, changed=None):
    """What is known of retrained networks, by id, with some of the journal's notes others."""
    memory = read_journal(run.journal)
    memory = replace(memory, facts=memory.facts | {key: as_json(note) for key, note in (changed or {}).items()})
    return {known.genotype_id: known for known in retrained(run, memory)}


def test_a_network_counts_with_the_mean_over_its_seeds(done):
    entry = result(done)["finalists"][0]
    known = _retrained(done, {f"again:{entry['id']}/3": made_up(accuracy=0.0)})[entry["id"]]
    seeds = entry["validation_by_seed"]
    assert known.accuracy == pytest.approx(sum(seeds) / (len(seeds) + 1))


def test_what_was_measured_is_known_though_it_could_not_be_predicted(done):
    entry = result(done)["finalists"][0]
    final = read_journal(done.journal).records(Final)[entry["id"]]
    unpredicted = _retrained(done, {f"final:{entry['id']}": replace(final, bound_ms=None, predicted_ms=None)})
    assert unpredicted[entry["id"]] == _retrained(done)[entry["id"]]


def test_a_budget_that_nothing_holds_is_one_message(done, nas_here):
    code, out, err = nas_here("best", done.path, "--latency-budget", "0.001ms")
    assert code == 2 and not out and re.search(r"has no network within 0.001 ms; its fastest holds \d", err)


def test_the_finalists_of_two_objectives_lie_along_the_front(done):
    found = result(done)
    assert found["objectives"] == ["accuracy", "latency"] and len(found["finalists"]) == 3
    assert all(entry["test_accuracy"] is not None for entry in found["finalists"])
    spread = [e["predicted_ms"] for e in found["finalists"]]
    assert max(spread) > 1.2 * min(spread)


def test_any_trained_network_of_a_run_can_be_shown_by_its_id(done, nas_here):
    entry = result(done)["finalists"][-1]
    code, out, _ = nas_here("show", f"{done.path}:{entry['id']}")
    assert code == 0 and f"{entry['id']} of run" in out
    code, _, err = nas_here("show", f"{done.path}:nothing")
    assert code == 2 and 'has no trained network "nothing"' in err
