"""The study: the gate, the memory, early stopping, and going on from the journal."""

import json
import random
import shutil
from dataclasses import replace
from itertools import groupby

import pytest
from made_up_search import retrained
from optuna.storages.journal._storage import JournalOperation

from evaluators.limits import Limits
from nas.budget.estimate import Estimate, uncovered
from nas.pipeline.halving import SCREENING
from nas.pipeline.study import PATIENCE, Study
from nas.records import Final
from nas.run.memory import counts, read_journal
from nas.samplers.common import feasible as _feasible
from nas.seeds import training_seed
from search_spaces.anchor import base_name
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

SPACE = load_space("tiny")
SMALL = """
summary: four genotypes
input: [3, 8, 8]
stages:
  - {name: stem, width: [8, 16], blocks: {conv: {kernel: [1, 3]}}}
  - {name: head, blocks: {head: {}}}
"""


def _cost_ms(genotype: Genotype) -> float:
    return sum((b.width or 0) for b in genotype.blocks) / 500


TIGHT = 1.1 * min(_cost_ms(SPACE.sample(random.Random(i))) for i in range(100))


def _estimate(genotypes):
    return [Estimate(_cost_ms(g), 1.1 * _cost_ms(g), 1000 + len(g.text), 1000 + len(g.blocks)) for g in genotypes]


def _score(genotype: Genotype) -> float:
    return random.Random(genotype.id).random()


def _study(path, budget=1.5, space=SPACE, seed=0, sampler="tpe"):
    return Study(path / "journal.log", space, _estimate, Limits(budget), sampler, seed=seed)


def _train(study, proposal, epochs=4):
    for epoch in range(1, epochs + 1):
        if study.report(proposal.number, epoch, _score(proposal.genotype) * epoch / epochs, 1.0):
            break
    return study.complete(proposal.number, epochs)


def _probe(genotype: Genotype) -> float:
    return random.Random("probe" + genotype.id).random()


def _fine_tune(study, proposal, epochs=4):
    if study.report(proposal.number, 0, _probe(proposal.genotype), 0.5, 0.75):
        return study.complete(proposal.number, epochs)
    return _train(study, proposal, epochs)


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return load_space(str(tmp_path / "small.yaml"))


def test_nothing_over_the_budget_is_let_through(tmp_path):
    study = _study(tmp_path)
    for _ in range(15):
        proposal = study.ask()
        assert proposal.estimate.bound_ms <= 1.5
        _train(study, proposal)
    found = counts(study.trials())
    assert found["rejected"] > 0
    assert found["asked"] == found["rejected"] + found["repeated"] + found["trained"] + found["failed"]
    assert all(t.estimate.bound_ms > 1.5 for t in study.trials() if t.outcome == "rejected")


def test_no_genotype_is_trained_twice_and_a_small_space_ends(tmp_path, small):
    study = _study(tmp_path, space=small, sampler="random")
    trained = []
    while proposal := study.ask():
        trained.append(proposal.genotype.text)
        _train(study, proposal)
    assert len(trained) == len(set(trained)) == small.size == 4
    assert counts(study.trials())["repeated"] > 0


def test_the_same_seed_asks_the_same_and_another_does_not(tmp_path):
    def asked(seed, name):
        (tmp_path / name).mkdir()
        study = _study(tmp_path / name, seed=seed)
        return [_train(study, study.ask()).genotype.text for _ in range(16)]

    assert asked(3, "a") == asked(3, "b") != asked(4, "c")


@pytest.mark.parametrize("stop_after", [1, 5, 14])
def test_a_reopened_study_asks_what_an_uninterrupted_one_would(tmp_path, stop_after):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = _study(tmp_path / "whole")
    expected = [_train(whole, whole.ask()).genotype.text for _ in range(16)]
    parts = _study(tmp_path / "parts")
    found = [_train(parts, parts.ask()).genotype.text for _ in range(stop_after)]
    parts = _study(tmp_path / "parts")
    found += [_train(parts, parts.ask()).genotype.text for _ in range(16 - stop_after)]
    assert found == expected


def test_a_trial_that_was_running_goes_on_after_reopening(tmp_path):
    study = _study(tmp_path)
    proposal = study.ask()
    study.report(proposal.number, 1, 0.5, 2.0)
    study = _study(tmp_path)
    [running] = [t for t in study.trials() if t.outcome == "running"]
    assert running.genotype == proposal.genotype
    assert not study.report(running.number, 1, 0.5, 2.0)  # trained again from the start, kept once
    for epoch in (2, 3, 4):
        study.report(running.number, epoch, 0.6, 2.0)
    done = study.complete(running.number, 4)
    assert (done.outcome, done.accuracies) == ("trained", (0.5, 0.6, 0.6, 0.6))


def test_a_trial_cut_off_while_being_asked_is_closed(tmp_path):
    study = _study(tmp_path)
    first = study.ask()
    _train(study, first)
    asked_next = _study_copied(tmp_path).ask().genotype
    text = (tmp_path / "journal.log").read_bytes().splitlines(keepends=True)
    study.ask()
    cut = (tmp_path / "journal.log").read_bytes().splitlines(keepends=True)
    for keep in range(len(text), len(cut)):
        (tmp_path / "journal.log").write_bytes(b"".join(cut[:keep]))
        reopened = _study(tmp_path)
        assert [t.genotype for t in reopened.trials() if t.outcome == "trained"] == [first.genotype]
        assert [t for t in reopened.trials() if t.outcome == "running"] or reopened.ask().genotype == asked_next
        (tmp_path / "journal.log").write_bytes(b"".join(cut))


@pytest.mark.parametrize("cost", [None, "latency"])
def test_a_trial_cut_off_before_it_was_closed_is_closed_as_its_outcome_says(tmp_path, monkeypatch, cost):
    monkeypatch.setattr(_feasible, "TRIES", 1)
    monkeypatch.setitem(PATIENCE, "rejected", 3)
    (tmp_path / "eight.yaml").write_text(SMALL.replace("[8, 16]", "[8, 12, 16, 24]"))  # of which half hold the budget
    settings, path = (load_space(str(tmp_path / "eight.yaml")), _estimate, Limits(0.03), "random"), tmp_path / "journal.log"
    study = Study(path, *settings, seed=0, cost=cost)
    first = study.seed_anchor(load_space("mobile").reference_networks()[0])
    study.fail(first.number, "the loss was nan")
    while proposal := study.ask():
        _fine_tune(study, proposal)
    ended = {t.number: (t.state, t.values) for t in study._study.get_trials(deepcopy=False)}
    outcomes = {t.outcome for t in study.trials()}
    assert outcomes >= {"failed", "rejected", "repeated", "screened", "trained"}
    lines = path.read_bytes().splitlines(keepends=True)
    last: dict[str, int] = {}  # of each outcome, the record by which a trial was closed
    for number, record in enumerate(map(json.loads, lines)):
        if record["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
            last[study.trials()[record["trial_id"]].outcome] = number
    assert last.keys() == outcomes
    for number in last.values():
        path.write_bytes(b"".join(lines[:number]))
        Study(path, *settings, seed=0, cost=cost)
        reopened = Study(path, *settings, seed=0, cost=cost)  # and it stays so
        assert reopened.trials() == study.trials()[: len(reopened.trials())]
        for trial in reopened._study.get_trials(deepcopy=False):
            assert (trial.state, trial.values) == ended[trial.number]


def _study_copied(path):
    (path / "copy").mkdir()
    shutil.copyfile(path / "journal.log", path / "copy" / "journal.log")
    return _study(path / "copy")


def test_successive_halving_stops_the_worse_half(tmp_path):
    study = _study(tmp_path)
    ended = [_train(study, study.ask()) for _ in range(24)]
    stopped = [t for t in ended if t.outcome == "stopped"]
    assert 0 < len(stopped) < len(ended)
    assert max(ended, key=lambda t: t.accuracies[0]).outcome == "trained"


def test_a_failure_is_kept_with_its_reason_and_never_asked_again(tmp_path):
    study = _study(tmp_path)
    proposal = study.ask()
    study.fail(proposal.number, "the loss was nan in epoch 1, by batch 16")
    reopened = _study(tmp_path).trials()[proposal.number]
    assert (reopened.outcome, reopened.reason) == ("failed", "the loss was nan in epoch 1, by batch 16")
    assert counts(_study(tmp_path).trials())["failed"] == 1


def test_anchors_enter_with_their_genes_where_the_space_contains_them(tmp_path):
    mobile = load_space("mobile")
    study = Study(tmp_path / "journal.log", mobile, _estimate, Limits(1e9), "tpe", seed=0)
    for entry in mobile.reference_networks():
        proposal = study.seed_anchor(entry)
        assert proposal.anchor == entry.name and proposal.genotype == entry.genotype
        assert study.seed_anchor(entry) is None
    for trial in study._study.trials:
        name = trial.user_attrs["origin"].removeprefix("anchor:")
        inside = mobile.anchors[base_name(name)] == "inside"
        assert bool(trial.params) == inside
        if inside:
            assert mobile.decode(trial.params).text == trial.user_attrs["genotype"]
    assert counts(study.trials())["asked"] == 0


def test_notes_survive(tmp_path):
    kept = retrained(accuracy=0.5, accuracies=(0.25, 0.5))
    _study(tmp_path).note(kept, "abc")
    assert _study(tmp_path).records(Final) == {"abc": kept}


def test_unknown_sampler_is_refused_with_the_near_miss(tmp_path):
    with pytest.raises(InputError, match="tpe"):
        _study(tmp_path, sampler="tpee")


def test_training_seeds_follow_from_seed_genotype_and_stage():
    a, b = (SPACE.sample(random.Random(i)) for i in range(2))
    assert training_seed(0, a, "search") == training_seed(0, a, "search")
    different = [(0, a, "search"), (1, a, "search"), (0, b, "search"), (0, a, "final")]
    assert len({training_seed(*arguments) for arguments in different}) == 4


def test_what_the_profile_does_not_cover_is_rejected_with_its_reason(small, tmp_path, monkeypatch):
    monkeypatch.setitem(PATIENCE, "rejected", 3)
    beyond = lambda gs: [replace(e, extrapolated=0.5) for e in _estimate(gs)]  # noqa: E731
    study = Study(tmp_path / "journal.log", small, beyond, Limits(1.5), "random", seed=0)
    assert study.ask() is None
    reasons = {(t.outcome, t.reason) for t in study.trials()}
    assert reasons == {("rejected", "outside the device profile")}


def test_an_operation_that_the_profile_lacks_counts_as_rejected(small, tmp_path, monkeypatch):
    monkeypatch.setitem(PATIENCE, "rejected", 3)
    study = Study(tmp_path / "journal.log", small, lambda gs: [uncovered(1, 1) for _ in gs], Limits(1.5), "random", seed=0)
    assert study.ask() is None and counts(study.trials())["rejected"] == 3
    assert all(t.estimate == uncovered(1, 1) for t in read_journal(tmp_path / "journal.log").trials)


def test_a_sampler_is_asked_again_until_it_proposes_what_is_feasible(tmp_path, monkeypatch):
    def rejected(name):
        (tmp_path / name).mkdir()
        study = _study(tmp_path / name, budget=TIGHT, sampler="random")
        assert all(_train(study, study.ask()).estimate.fits(Limits(TIGHT)) for _ in range(6))
        return counts(study.trials())["rejected"]

    often = rejected("often")
    monkeypatch.setattr(_feasible, "TRIES", 1)
    monkeypatch.setitem(PATIENCE, "rejected", 10**6)
    assert 20 * often < rejected("once")


def test_a_sampler_that_is_refused_again_and_again_is_helped_out(tmp_path, monkeypatch):
    monkeypatch.setattr(_feasible, "TRIES", 1)
    monkeypatch.setitem(PATIENCE, "rejected", 4)
    study = _study(tmp_path, budget=TIGHT, sampler="random")
    trained = [_train(study, study.ask()) for _ in range(6)]
    runs = [len(list(run)) for refused, run in groupby(study.trials(), lambda t: t.outcome == "rejected") if refused]
    assert max(runs) == 4 and all(t.estimate.fits(Limits(TIGHT)) for t in trained)


def test_a_space_of_which_all_was_timed_in_vain_ends(tmp_path, small):
    doubtful = Estimate(1.0, 2.0, 1, 1)
    times: dict[str, Estimate] = {}

    def timed(genotype, estimate):
        times[genotype.text] = replace(estimate, timed_ms=1.8)
        return times[genotype.text]

    def estimate(genotypes):
        return [times.get(g.text, doubtful) for g in genotypes]

    study = Study(tmp_path / "journal.log", small, estimate, Limits(1.5), "random", seed=0, timed=timed)
    assert study.ask() is None and len(times) == small.size


def test_a_sampler_that_repeats_itself_is_helped_out(tmp_path, small):
    study = _study(tmp_path, space=small, sampler="evolution")
    trained = [_train(study, study.ask()).genotype for _ in range(4)]
    assert len(set(trained)) == 4 and study.ask() is None
    repeated = [sum(1 for _ in run) for word, run in groupby(t.outcome for t in study.trials()) if word == "repeated"]
    assert max(repeated, default=0) <= PATIENCE["repeated"]


def test_a_study_reopened_amid_refusals_asks_what_an_uninterrupted_one_would(tmp_path, monkeypatch):
    monkeypatch.setattr(_feasible, "TRIES", 1)
    monkeypatch.setitem(PATIENCE, "rejected", 4)
    whole = _study(tmp_path, budget=TIGHT, sampler="random")
    first = _train(whole, whole.ask())
    expected = whole.ask()
    lines = (tmp_path / "journal.log").read_bytes().splitlines(keepends=True)
    ended = [i for i, line in enumerate(lines, 1) if json.loads(line)["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES]
    refused = ended[1 + sum(t.number < first.number for t in whole.trials()) :]
    assert refused, "the second ask was let through at once: another seed is needed"
    for count in refused:
        (tmp_path / "journal.log").write_bytes(b"".join(lines[:count]))
        assert _study(tmp_path, budget=TIGHT, sampler="random").ask() == expected


def test_a_study_beside_shares_the_journal_and_nothing_else(tmp_path):
    study = _study(tmp_path)
    _train(study, study.ask())
    beside = study.beside("random", "random")
    assert beside.trials() == []
    trained = [_train(beside, beside.ask()).genotype for _ in range(3)]
    kept = read_journal(tmp_path / "journal.log", "random").trials
    assert [t.genotype for t in kept if t.outcome in ("trained", "stopped")] == trained
    assert len([t for t in read_journal(tmp_path / "journal.log").trials if t.outcome == "trained"]) == 1
    assert read_journal(tmp_path / "journal.log", "nothing").trials == []


def test_with_a_second_objective_only_those_that_cost_no_more_compete_in_halving(tmp_path):
    study = Study(tmp_path / "journal.log", SPACE, _estimate, Limits(1.5), "random", seed=0, cost="latency")
    ended = [_train(study, study.ask()) for _ in range(24)]
    fastest = min(ended, key=lambda t: t.estimate.predicted_ms)
    assert fastest.outcome == "trained" and any(t.outcome == "stopped" for t in ended)
    for trial in (t for t in ended if t.outcome == "stopped"):
        rung = len(trial.accuracies)
        rivals = [t for t in ended if t.number <= trial.number and t.estimate.predicted_ms <= trial.estimate.predicted_ms]
        rivals = [t for t in rivals if len(t.accuracies) >= rung]
        better = [t for t in rivals if t.accuracies[rung - 1] > trial.accuracy]
        assert len(better) >= max(1, len(rivals) // 2)


@pytest.mark.parametrize("cost", [None, "latency"])
def test_of_those_that_were_probed_the_best_third_is_trained(tmp_path, cost):
    study = Study(tmp_path / "journal.log", SPACE, _estimate, Limits(1.5), "random", seed=0, cost=cost)
    ended = [_fine_tune(study, study.ask()) for _ in range(30)]
    for trial in ended:
        assert trial.probe == _probe(trial.genotype) and trial.inherited == 0.75
        before = [t for t in ended if t.number <= trial.number]
        if cost:
            before = [t for t in before if t.estimate.predicted_ms <= trial.estimate.predicted_ms]
        better = sum(t.probe > trial.probe for t in before)
        assert (trial.outcome == "screened") == (better >= max(1, len(before) // SCREENING))
        assert trial.accuracies == () or trial.outcome != "screened"
    found = counts(study.trials())
    assert found["screened"] == sum(t.outcome == "screened" for t in ended) > 15
    assert found["asked"] == sum(found[word] for word in ("rejected", "repeated", "screened", "failed", "trained"))
    assert found["trained"] == sum(t.outcome in ("trained", "stopped") for t in ended)
    assert [replace(t, genes={}) for t in study.trials()] == read_journal(tmp_path / "journal.log").trials


def test_hand_designed_networks_are_no_rivals_in_screening_and_never_screened_by_it(tmp_path):
    mobile = load_space("mobile")
    study = Study(tmp_path / "journal.log", mobile, _estimate, Limits(1e9), "random", seed=0)
    first, second, third = mobile.reference_networks()[:3]
    over = study.seed_anchor(first, 0.99)
    assert (over.outcome, over.probe, over.accuracies) == ("screened", 0.99, ()) and study.seed_anchor(first) is None
    trained = _train(study, study.seed_anchor(second), 1)
    assert not study.report(study.seed_anchor(third).number, 0, 0.01, 0.1, 0.5)
    assert not study.report(study.ask().number, 0, 0.02, 0.1, 0.5)
    found = counts(study.trials())
    assert trained.outcome == "trained" and (found["anchors_trained"], found["screened"], found["asked"]) == (1, 0, 1)


def test_a_decision_that_was_cut_off_is_made_again(tmp_path):
    study = _study(tmp_path)
    first, second = study.ask(), study.ask()
    study.report(first.number, 0, 0.9, 0.1, 0.5)
    assert study.report(second.number, 0, 0.1, 0.1, 0.5)  # and the process is killed before the trial is ended
    study = _study(tmp_path)
    assert study.report(second.number, 0, 0.1, 0.1, 0.5)
    ended = study.complete(second.number, 2)
    assert (ended.outcome, ended.probe, ended.seconds) == ("screened", 0.1, 0.1)
    study.report(first.number, 1, 0.5, 1.0)
    assert not _study(tmp_path).report(first.number, 0, 0.0, 0.1, 0.5), "it has survived its probe"


@pytest.mark.parametrize("stop_after", [1, 7, 16])
def test_a_study_reopened_among_probes_asks_what_an_uninterrupted_one_would(tmp_path, stop_after):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, parts = (_study(tmp_path / name, sampler="surrogate") for name in ("whole", "parts"))
    expected = [_fine_tune(whole, whole.ask()) for _ in range(18)]
    found = [_fine_tune(parts, parts.ask()) for _ in range(stop_after)]
    running = parts.ask()
    parts.report(running.number, 0, _probe(running.genotype), 0.5, 0.75)
    parts = _study(tmp_path / "parts", sampler="surrogate")
    found.append(_fine_tune(parts, parts.trials()[running.number]))
    found += [_fine_tune(parts, parts.ask()) for _ in range(18 - len(found))]
    assert found == expected
