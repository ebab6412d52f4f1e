"""Ranking: fronts, means over seeds, contenders; and rank correlations against SciPy's."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_search import measurement, retrained, timed
from scipy.stats import spearmanr

from nas.budget.estimate import Estimate
from nas.budget.latency_budget import LatencyBudget
from nas.pareto import front
from nas.pipeline.ranking import along_front, best_found, contenders, over_seeds, ranking, rival_anchors
from nas.records import Again
from nas.report.rank_correlation import rank_correlations
from nas.run.memory import Memory
from nas.run.notes import as_json
from nas.run.trials import Proposal
from search_spaces.anchor import anchor, base_name
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

PROMISE = LatencyBudget(10.0)
HELD, OVER = (PROMISE.record(timed(measurement(ms)), 1) for ms in (5.0, 12.0))


def _trial(number, ms, accuracies, outcome="trained"):
    genotype = Genotype.parse(f"conv {number + 1}/1\nhead")
    return Proposal(number, "search", {}, genotype, Estimate(ms, ms, 1, 10 + number), outcome, "", tuple(accuracies), 1.0)


points = st.lists(st.tuples(st.floats(0.5, 50), st.floats(0, 1)), min_size=1, max_size=20)


@given(points)
def test_the_front_comes_first_the_best_before_all_and_nobody_is_lost(found):
    ranked = ranking([_trial(i, ms, (accuracy,)) for i, (ms, accuracy) in enumerate(found)])
    ordered = along_front(ranked, "latency")
    assert sorted(t.number for t in ordered) == list(range(len(found)))
    assert ordered[0].accuracy == max(t.accuracy for t in ranked)
    best: list[tuple[float, float]] = []
    for trial in ordered:
        point = (trial.estimate.predicted_ms, trial.accuracy)
        covered = any(ms <= point[0] and accuracy >= point[1] for ms, accuracy in best)
        assert not covered or len(best) == len(front([(t.estimate.predicted_ms, t.accuracy) for t in ranked]))
        best += [] if covered else [point]


def test_the_second_of_the_front_fills_the_widest_gap():
    trials = [_trial(i, ms, (accuracy,)) for i, (ms, accuracy) in enumerate([(1, 0.5), (8, 0.8), (9, 0.85), (10, 0.9)])]
    assert [t.number for t in along_front(ranking(trials), "latency")][:2] == [3, 0]


def test_means_are_over_the_seeds_that_could_be_trained():
    finals = {"a": retrained(accuracy=0.8), "b": retrained(reason="nan")}
    again = {"a/2": retrained(kind=Again, accuracy=0.6), "a/3": retrained(kind=Again, reason="nan")}
    found = over_seeds(finals, again)
    assert found["a"].accuracy == pytest.approx(0.7) and found["a"].by_seed == (0.8, 0.6)
    assert found["b"].by_seed == () and found["b"].accuracy is None


def test_more_seeds_come_before_a_single_lucky_one():
    finals = {i: retrained(accuracy=a) for i, a in (("a", 0.80), ("b", 0.79), ("c", 0.78))}
    measured = dict.fromkeys("abc", HELD)
    assert contenders(finals, measured, PROMISE, 2) == ["a", "b"]
    means = over_seeds(finals, {f"{i}/2": retrained(kind=Again, accuracy=a) for i, a in (("a", 0.70), ("b", 0.77))})
    assert best_found(means, measured, PROMISE) == "b"


def test_contenders_hold_the_budget_and_the_best_of_each_origin_is_among_them():
    finals = {
        "over": retrained(accuracy=0.99),
        "a": retrained(accuracy=0.9),
        "b": retrained(accuracy=0.8),
        "low": retrained("anchor:x", accuracy=0.1),
        "lower": retrained("anchor:y", accuracy=0.05),
        "r": retrained("random", accuracy=0.2),
    }
    measured = dict.fromkeys(finals, HELD) | {"over": OVER}
    assert contenders(finals, measured, PROMISE, 2) == ["a", "b", "low", "r"]


def test_each_stage_s_rank_correlation_with_the_next():
    values = [(3, 0.2, 0.4), (5, 0.5, 0.45), (6, 0.1, 0.3), (7, 0.6, 0.9), (8, 0.3, 0.35), (9, 0.55, 0.6), (2, 0.4, 0.5)]
    trials = [_trial(ms, ms, (first, last)) for ms, first, last in values]
    trials.append(_trial(99, 99, (0.05,), "stopped"))
    facts = {f"final:{t.genotype.id}": as_json(retrained(accuracy=t.accuracies[-1] ** 2)) for t in trials[:3]}
    first, second, third = rank_correlations(Memory(trials, facts))
    assert (first["lower"], first["upper"], first["n"]) == ("MACs", "1 epoch of the search", 8)
    by_macs = spearmanr([t.estimate.macs for t in trials], [t.accuracies[0] for t in trials])[0]
    assert first["spearman"] == pytest.approx(by_macs)
    expected = spearmanr([v[1] for v in values], [v[2] for v in values])[0]
    assert second["n"] == 7 and second["spearman"] == pytest.approx(expected)
    assert second["low"] <= second["spearman"] <= second["high"]
    assert (third["n"], third["spearman"]) == (3, None)  # too few to say anything


def test_an_empty_journal_has_no_rank_correlations():
    assert rank_correlations(Memory([], {})) == []


def test_the_probe_is_between_macs_and_the_first_epoch():
    values = [(3, 0.2, 0.4), (5, 0.5, 0.45), (6, 0.1, 0.3), (7, 0.6, 0.9), (8, 0.3, 0.35), (9, 0.55, 0.6)]
    trials = [replace(_trial(ms, ms, (accuracy,)), probe=probe) for ms, probe, accuracy in values]
    trials.append(replace(_trial(99, 99, (), "screened"), probe=0.05))
    first, second = rank_correlations(Memory(trials, {}))
    assert (first["lower"], first["upper"], first["n"]) == ("MACs", "linear probe", 6)
    assert (second["lower"], second["upper"], second["n"]) == ("linear probe", "1 epoch of the search", 6)
    assert second["spearman"] == pytest.approx(spearmanr([v[1] for v in values], [v[2] for v in values])[0])


MOBILE = load_space("mobile").reference_networks()


def test_hand_designed_networks_carry_the_size_of_their_input_behind_their_name():
    names = [a.name for a in MOBILE]
    assert len(set(names)) == len(names)
    for entry in MOBILE:
        known = anchor(base_name(entry.name))
        side = int(entry.name.partition("@")[2])
        assert entry.genotype.input == (3, side, side) and side <= known.task.input[1]
        assert replace(entry.genotype, input=None) == replace(known.genotype, input=None)
    [alone] = load_space("tiny").with_anchors([]).reference_networks()[:1]
    assert "@" not in alone.name and base_name(alone.name) == alone.name == "mobilenet_v1"


def _probes(*scores):
    """Of mobilenet_v1, v2 ... at their inputs, by genotype id: (name, side, score) each."""
    named = {a.name: a.genotype.id for a in MOBILE}
    return {named[f"{name}@{side}"]: score for name, side, score in scores}


def test_of_each_hand_designed_network_the_input_of_its_best_probe_is_a_rival_and_of_all_the_best():
    found = [("mobilenet_v2", 96, 0.6), ("mobilenet_v2", 160, 0.8), ("mobilenet_v2", 224, 0.7)]
    found += [("mobilenet_v1", 96, 0.5), ("mobilenet_v1", 128, 0.4), ("shufflenet_v2", 96, 0.75), ("fe_net", 96, 0.1)]
    probes = _probes(*found)
    fitting = [a for a in MOBILE if a.genotype.id in probes]
    rivals = [a.name for a in rival_anchors(fitting, probes, 2, set())]
    assert rivals == ["mobilenet_v2@160", "shufflenet_v2@96"]
    assert {a.name for a in rival_anchors(fitting, probes, 2, {"fe_net"})} == {"fe_net@96", *rivals}
    assert {a.name for a in rival_anchors(fitting, probes, 1, {"mobilenet_v2"})} == set(rivals)


def test_of_inputs_with_about_equal_probes_the_largest_is_a_rival():
    probes = _probes(
        ("mobilenet_v2", 96, 0.80), ("mobilenet_v2", 160, 0.79), ("mobilenet_v2", 192, 0.785), ("mobilenet_v2", 224, 0.77)
    )
    fitting = [a for a in MOBILE if a.genotype.id in probes]
    assert [a.name for a in rival_anchors(fitting, probes, 2, set())] == ["mobilenet_v2@192"]


def test_without_probes_each_hand_designed_network_is_a_rival_at_the_largest_input_that_fits():
    fitting = [a for a in MOBILE if a.genotype.input[1] <= 160]
    rivals = rival_anchors(fitting, {}, 1, set())
    assert len({base_name(a.name) for a in rivals}) == len(rivals) == len({base_name(a.name) for a in fitting})
    largest = {base_name(a.name): a.genotype.input for a in fitting}
    assert all(a.genotype.input == largest[base_name(a.name)] for a in rivals)
