"""A search of hundreds of trials: what it looks up is what reading all of them would say, and it does not read them all."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import optuna
import pytest
from optuna.trial import TrialState

from nas.pareto import front
from nas.pipeline.halving import SCREENING, Rungs
from nas.pipeline.ranking import ranking
from nas.records import Asked
from nas.run import trials as module
from nas.run.journal import Journal, open_study, storage_of
from nas.run.memory import read_journal
from nas.run.notes import as_json
from nas.run.storage import Storage
from nas.run.trials import Trials
from nas.samplers.common import local
from nas.samplers.common.local import Local
from nas.testing.samplers import estimates, go_on, study
from search_spaces.space_file import load_space

EXAMPLE = Path(__file__).parents[2] / "runs" / "example"


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The journal of a search with 600 evaluated trials, some of them screened, stopped or failed."""
    path, space, rng = tmp_path_factory.mktemp("long") / "journal.log", load_space("tiny"), random.Random(0)
    networks = list({genotype.text: genotype for genotype in (space.sample(rng) for _ in range(800))}.values())[:600]
    with patch("os.fsync"):
        begun = open_study(storage_of(Journal(path)), "nas", None)
        for genotype, [estimate] in zip(networks, (estimates([genotype]) for genotype in networks), strict=True):
            begun.add_trial(_ended(space, genotype, estimate, rng))
    return path


def _ended(space, genotype, estimate, rng):
    """A trial that has ended somehow."""
    outcome, genes = rng.choice(["screened", "stopped", "trained", "trained", "failed"]), dict(space.encode(genotype))
    epochs = {"screened": 0, "stopped": 1, "trained": 2, "failed": rng.randrange(2)}[outcome]
    values = {epoch: rng.random() for epoch in range(epochs + 1)}
    states = {"trained": TrialState.COMPLETE, "failed": TrialState.FAIL}
    asked = Asked(origin="search", genotype=genotype.text, **estimate.as_json(), reason="", outcome=outcome)
    return optuna.trial.create_trial(
        state=states.get(outcome, TrialState.PRUNED),
        params=genes,
        distributions={name: optuna.distributions.CategoricalDistribution(space.genes[name]) for name in genes},
        user_attrs=as_json(asked),
        intermediate_values=values,
        value=values[epochs] if outcome == "trained" else None,
    )


def _copy(path, tmp_path):
    (tmp_path / "journal.log").write_bytes(path.read_bytes())
    return tmp_path / "journal.log"


@pytest.mark.parametrize("sampler", ["surrogate", "evolution", "random"])
def test_a_trial_of_a_long_search_reads_few_others(long, tmp_path, monkeypatch, sampler):
    begun = study(_copy(long, tmp_path), sampler, seed=1)
    begun.trials()
    read, looked_up = Counter(), Counter()
    parse, numbered = module.read, Trials.numbered
    monkeypatch.setattr(module, "read", lambda trial: read.update([trial.number]) or parse(trial))
    monkeypatch.setattr(Trials, "numbered", lambda self, number: looked_up.update([number]) or numbered(self, number))
    monkeypatch.setattr(Trials, "__iter__", lambda self: pytest.fail("all trials are read"))
    monkeypatch.setattr(Storage, "get_all_trials", _only_waiting)
    *_, proposal = go_on(begun, 2)
    assert proposal.number > 600 in read
    assert all(number >= 600 for number in read), "a trial was read again that had not changed"
    assert len(looked_up) < local._BEST + local._LATEST + local._OTHERS + local._FINISHED + 2 < 600


def _only_waiting(self, study_id, deepcopy=True, states=None):
    assert states == (TrialState.WAITING,), "all trials are read"
    return []


def test_what_is_looked_up_is_what_all_trials_say(long, tmp_path):
    begun = study(_copy(long, tmp_path), "random")
    running = begun.ask()
    seen, everything = begun.seen, begun.trials()
    assert list(seen) == everything and len(seen) == len(everything)
    assert seen.known == {t.genotype.text: t.number for t in everything if t.outcome not in ("rejected", "repeated")}
    assert seen.running == {running.number: running}
    ended = [t for t in everything if t.rungs or t.outcome == "failed"]
    assert seen.ended == [t.number for t in ended] and len(ended) == 600
    assert [number for _, number in seen.best] == [
        t.number for t in sorted(everything, key=lambda t: -t.rungs[-1] if t.rungs else 0.0) if t.outcome == "trained"
    ]
    assert seen.leader == ranking(everything, anchors=True)[0]
    epochs = [len(t.accuracies) for t in everything if t.outcome in ("trained", "stopped")]
    assert seen.mean_epochs() == sum(epochs) / len(epochs)
    assert seen.candidates() == {t.genotype.id for t in everything}
    accepted = [t.number for t in everything if t.outcome not in ("rejected", "repeated")]
    assert [seen.turn(number) for number in accepted] == list(range(len(accepted)))
    assert all(seen.turn(t.number) is None for t in everything if t.number not in accepted)


def test_the_front_is_that_of_all_trained_trials(tmp_path):
    begun = study(tmp_path / "journal.log", "random", cost="latency")
    go_on(begun, 40)
    trained = [t for t in begun.trials() if t.outcome == "trained"]
    expected = [trained[i] for i in front([(t.estimate.figure("latency"), t.accuracy) for t in trained])]
    assert begun.seen.front == expected and len(expected) > 2


@pytest.mark.parametrize("cost", [None, "macs"])
def test_rungs_decide_as_counting_all_trials_does(long, cost):
    everything = [t for t in read_journal(long).trials if t.outcome != "repeated"]
    rungs = Rungs(everything, cost)
    for own in everything[-60:]:
        rivals = [t for t in everything if not cost or t.estimate.figure(cost) <= own.estimate.figure(cost)]
        probed = [t.probe for t in rivals if t.probe is not None]
        assert rungs.screened(own) == (sum(p > own.probe for p in probed) >= max(1, len(probed) // SCREENING))
        for epoch in range(1, len(own.accuracies) + 1):
            reached = [t.accuracies[epoch - 1] for t in rivals if len(t.accuracies) >= epoch]
            behind = sum(a > own.accuracies[epoch - 1] for a in reached) >= max(1, len(reached) // 2)
            assert rungs.falls_behind(own, epoch, 2) == (epoch in (1, 2) and behind)


def test_a_usual_search_is_fitted_to_all_of_it_and_a_long_one_to_the_best_the_latest_and_some_others(
    long, tmp_path, monkeypatch
):
    seen = study(_copy(long, tmp_path), "random").seen
    few = Local.of(seen)
    assert len(few.evaluated) <= local._BEST + local._LATEST + local._OTHERS and len(few.finished) <= local._FINISHED
    numbers = [t.number for t in few.evaluated]
    assert numbers == sorted(set(numbers)) and set(numbers) >= {number for _, number in seen.best[: local._BEST]}
    assert set(numbers) >= set(seen.ended[-local._LATEST :]) and numbers[0] == seen.ended[0]
    assert all(after - before < 40 for before, after in pairwise(numbers))
    assert all(t.outcome == "trained" for t in few.finished)
    monkeypatch.setattr(local, "MOST", 600)
    everything = Local.of(seen)
    assert [t.number for t in everything.evaluated] == seen.ended
    assert everything.finished == [t for t in seen if t.outcome == "trained"]


def test_a_short_search_proposes_the_same_with_and_without_the_limit(tmp_path, monkeypatch):
    def proposed(most):
        monkeypatch.setattr(local, "MOST", most)
        return [t.genotype.text for t in go_on(study(tmp_path / f"{most}.log", "surrogate"), 10)]

    assert proposed(local.MOST) == proposed(10**9)


def test_a_long_search_proposes_within_the_budget_and_the_same_when_resumed(tmp_path, monkeypatch):
    for name, value in (("MOST", 8), ("_BEST", 4), ("_LATEST", 4), ("_OTHERS", 2)):
        monkeypatch.setattr(local, name, value)
    whole = [t.genotype.text for t in go_on(study(tmp_path / "whole.log", "surrogate"), 16)]
    parts = [t.genotype.text for count in (11, 5) for t in go_on(study(tmp_path / "parts.log", "surrogate"), count)]
    assert whole == parts and len(set(whole)) == 16


def test_the_storage_reads_what_optunas_own_reads():
    ours = storage_of(Journal(EXAMPLE / "journal.log", writable=False))
    theirs = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(EXAMPLE / "journal.log")))
    assert ours.get_all_trials(0) == theirs.get_all_trials(0) and len(ours.get_all_trials(0)) > 60
    assert ours.get_study_user_attrs(0) == theirs.get_study_user_attrs(0)


def test_the_storage_tells_what_has_changed(tmp_path):
    storage = storage_of(Journal(tmp_path / "journal.log"))
    one, other = (open_study(storage, name, None) for name in ("one", "other"))
    first, _ = one.ask(), other.ask()
    first.suggest_categorical("gene", [1, 2])
    changed, since = storage.changed(one._study_id, 0)
    assert [t.number for t in changed] == [0] and changed[0].params == first.params
    assert storage.changed(one._study_id, since) == ([], since)
    one.tell(first, 0.5)
    [again], _ = storage.changed(one._study_id, since)
    assert again.value == 0.5


def test_memory_has_all_but_genes(tmp_path):
    begun = study(tmp_path / "journal.log", "random")
    go_on(begun, 3, probed=True)
    assert all(t.genes for t in begun.trials())
    assert read_journal(tmp_path / "journal.log").trials == [replace(t, genes={}) for t in begun.trials()]
