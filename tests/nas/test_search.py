"""The order of a search, with trainings and measurements made up: what is over the budget when measured never wins."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_search import Executor, Predictor, Timer, View

from evaluators.data import Dataset, Split
from nas.export.files import export
from nas.pipeline.ranking import ranking
from nas.pipeline.search import Search
from nas.pipeline.stages import further_seeds
from nas.pipeline.state import State
from nas.records import Again, Final
from nas.report.result import result
from nas.run.memory import counts, read_journal
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

BUDGET = 10.0


@pytest.fixture
def run(made_run):
    return made_run(latency_budget_ms=BUDGET, data="made", classes=["a", "b"], trials=6, finalists=2, sampler="random")


@pytest.fixture
def searched(run):
    """Searches with made-up measured latencies; returns (result, lines shown)."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (8, 3, 16, 16)).astype(np.uint8), np.arange(8) % 2)
    dataset = Dataset("made", ((3, 16, 16),), ("a", "b"), split, split, split, "made for a test")

    def go(measured_ms):
        view = View()
        Search(State(run, dataset, Predictor(), Executor, view, timer=Timer(measured_ms, lambda _: 5.5))).run()
        return result(run), view.lines

    return go


def _ranked(run):
    return [t.genotype.id for t in ranking(read_journal(run.journal).trials)]


def test_the_best_on_validation_wins_when_all_hold(run, searched):
    found, _ = searched(lambda _: 5.0)
    candidates = found["finalists"] + found["anchors"]
    assert found["best"]["validation_accuracy"] == max(c["validation_accuracy"] for c in candidates)
    assert {f["id"] for f in found["finalists"]} == set(_ranked(run)[:2])
    assert found["finished"] and not found["over_budget_when_measured"]


def test_what_is_over_the_budget_when_measured_is_replaced_by_the_next_and_said(run, searched):
    slow: set[str] = set()

    def measured_ms(genotype_id):
        if not slow:
            slow.update(_ranked(run)[:2])
        return BUDGET + 1 if genotype_id in slow else 5.0

    found, _ = searched(measured_ms)
    assert {f["id"] for f in found["finalists"]} == set(_ranked(run)[2:4])
    assert {o["id"] for o in found["over_budget_when_measured"]} == slow
    assert found["best"]["p50_ms"] <= BUDGET


def test_a_finalist_that_is_over_the_budget_once_retrained_gives_way_to_the_next(run, searched):
    measured: dict[str, int] = {}

    def measured_ms(genotype_id):
        measured[genotype_id] = measured.get(genotype_id, 0) + 1
        return BUDGET + 1 if genotype_id in _ranked(run)[:2] and measured[genotype_id] > 1 else 5.0

    found, _ = searched(measured_ms)
    assert {f["id"] for f in found["finalists"]} == set(_ranked(run)[:4])
    assert found["found"]["id"] in _ranked(run)[2:4]
    assert {o["id"] for o in found["over_budget_when_measured"]} == set(_ranked(run)[:2])


def test_when_nothing_holds_there_is_no_best(run, searched):
    found, _ = searched(lambda _: BUDGET + 1)
    assert found["best"] is None and found["found"] is None and found["finished"]
    assert "No network" in found["verdict"]


def test_an_anchor_over_the_budget_is_trained_and_measured_as_a_reference(run, searched):
    anchor_id = run.space().reference_networks()[0].genotype.id
    found, _ = searched(lambda genotype_id: BUDGET + 1 if genotype_id == anchor_id else 5.0)
    [entry] = found["anchors"]
    assert not entry["fits"] and entry["test_accuracy"] is not None
    assert found["best"]["id"] != anchor_id


def test_the_time_limit_ends_the_search_and_is_said(run, searched):
    object.__setattr__(run.config, "time_s", 1e-9)
    found, lines = searched(lambda _: 5.0)
    assert found["counts"]["trained"] == 0 and found["ended"] == "the time limit was reached"
    assert any("6 candidates early: the time limit was reached" in line for line in lines)
    assert found["best"]["anchor"] is not None  # the anchors are there all the same


def test_counts_follow_from_the_journal(run, searched):
    found, _ = searched(lambda _: 5.0)
    assert found["counts"] == counts(read_journal(run.journal).trials)
    assert found["counts"]["trained"] == 6 and found["counts"]["anchors_trained"] == 1
    assert all(entry["input"] == [3, 16, 16] for entry in found["finalists"] + found["anchors"])


def test_those_that_may_win_are_retrained_with_another_seed_and_the_mean_decides(run, searched):
    found, lines = searched(lambda _: 5.0)
    assert "retrain with more seeds" in lines
    entries = found["finalists"] + found["anchors"]
    again = read_journal(run.journal).records(Again)
    assert {key.partition("/")[0] for key in again} == {e["id"] for e in entries if len(e["validation_by_seed"]) == 2}
    assert len(found["found"]["validation_by_seed"]) == len(found["found"]["test_by_seed"]) == 2
    for entry in entries:
        assert entry["validation_accuracy"] == pytest.approx(np.mean(entry["validation_by_seed"]))
    seeds = {n.seed for n in again.values()} | {n.seed for n in read_journal(run.journal).records(Final).values()}
    assert len(seeds) == len(again) + len(entries)
    assert all(run.weights(key.replace("/", "-")).is_file() for key in again)


def test_one_seed_is_enough_when_so_asked(made_run, searched, run):
    object.__setattr__(run.config, "final_seeds", 1)
    found, lines = searched(lambda _: 5.0)
    assert "retrain with more seeds" not in lines and len(found["found"]["validation_by_seed"]) == 1


@pytest.mark.parametrize("lost", ["the best", "another seed", "all", "the folder"])
def test_weights_that_are_missing_are_trained_again_and_nothing_else(run, searched, lost):
    before, _ = searched(lambda _: 5.0)
    folder, files = run.path / "weights", sorted((run.path / "weights").iterdir())
    named = {"the best": run.weights(before["best"]["id"]), "another seed": run.weights(before["best"]["id"] + "-2")}
    gone = [named[lost]] if lost in named else files
    contents = {file: file.read_bytes() for file in files}
    for file in gone:
        file.unlink()
    if lost == "the folder":
        folder.rmdir()
    if lost == "the best":
        with pytest.raises(InputError, match=f"weights/{gone[0].name} is missing in .*nas resume {run.path}"):
            export(run, before["best"], run.path / "export")
        assert not (run.path / "export").exists()
    after, lines = searched(lambda _: 1e9)  # nothing is measured again
    assert {file: file.read_bytes() for file in folder.iterdir()} == contents
    assert all(f"weights/{file.name}" in "\n".join(lines) for file in gone)
    assert {**after, "wall_seconds": 0} == {**before, "wall_seconds": 0}
    assert searched(lambda _: 1e9)[1] == [], "and that is that"


def test_an_unfinished_search_that_lost_weights_trains_them_again(run, searched, monkeypatch):
    with monkeypatch.context() as stopped:
        stopped.setattr(further_seeds, "run", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            searched(lambda _: 5.0)
    for file in (run.path / "weights").iterdir():
        file.unlink()
    found, _ = searched(lambda _: 5.0)
    assert found["finished"] and run.weights(found["best"]["id"]).is_file()


def _interrupt(self):
    raise KeyboardInterrupt


def test_random_search_of_as_many_trainings_stands_beside_the_search(run, searched):
    object.__setattr__(run.config, "baseline", True)
    found, lines = searched(lambda _: 5.0)
    kept = read_journal(run.journal, "random").trials
    counted = found["baseline"]["counts"]
    assert counted == counts(kept)
    assert counted["trained"] == found["counts"]["trained"] + found["counts"]["anchors_trained"]
    best = found["baseline"]["best"]
    assert best["test_accuracy"] is not None and best["id"] in {t.genotype.id for t in kept}
    assert best["id"] not in {e["id"] for e in found["finalists"]}
    assert "random search baseline" in lines


def test_rank_correlations_are_in_the_result(run, searched):
    steps = searched(lambda _: 5.0)[0]["rank_correlations"]
    assert [s["lower"] for s in steps] == ["MACs", "1 epoch of the search", "2 epochs of the search"]
    assert steps[0]["n"] == 7 and -1 <= steps[0]["low"] <= steps[0]["spearman"] <= steps[0]["high"] <= 1


def test_a_hand_designed_network_that_is_over_the_budget_is_trained_at_smaller_inputs_too(run, searched, monkeypatch):
    [known] = run.space().reference_networks()
    at = {
        side: replace(known, name=f"{known.name}@{side}", genotype=known.genotype.at((3, side, side))) for side in (8, 12, 16)
    }
    monkeypatch.setattr(SearchSpace, "reference_networks", lambda _: list(at.values()))
    slow = {at[12].genotype.id, at[16].genotype.id}
    found, _ = searched(lambda i: BUDGET + 1 if i in slow else 5.0)
    assert {a["anchor"]: a["fits"] for a in found["anchors"]} == {at[8].name: True, at[12].name: False, at[16].name: False}
