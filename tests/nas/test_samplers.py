"""Every sampler passes its suite; and the surrogate's own arithmetic."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from evaluators.limits import Limits
from nas import samplers
from nas.run.config import SearchConfig
from nas.samplers import surrogate as module
from nas.samplers.common.pool import Pool
from nas.samplers.surrogate import Surrogate
from nas.testing import check_sampler
from nas.testing.samplers import BUDGET_MS, estimates, go_on, study
from search_spaces.errors import InputError
from search_spaces.space_file import load_space, space_names


def _study(folder, sampler, seed=0, cost=None):
    folder.mkdir(exist_ok=True)
    return study(folder / "journal.log", sampler, seed, cost)


@pytest.mark.slow
@pytest.mark.parametrize("name", samplers.names())
def test_every_sampler_is_what_a_search_needs(name):
    check_sampler(name)


def test_the_default_is_there():
    default = next(field.default for field in fields(SearchConfig) if field.name == "sampler")
    assert default in samplers.names() and {"tpe", "nsga2", "evolution", "random"} <= set(samplers.names())


def test_an_unknown_one_is_refused_with_the_near_miss():
    with pytest.raises(InputError, match=r'no sampler "surogate".*surrogate'):
        samplers.check("surogate")


@pytest.mark.slow
def test_the_surrogate_finds_better_networks_than_random_in_as_many_trainings(tmp_path):
    def best(sampler, seed):
        return max(t.accuracy for t in go_on(_study(tmp_path / f"{sampler}{seed}", sampler, seed), 20))

    leads = [best("surrogate", seed) - best("random", seed) for seed in range(4)]
    assert np.mean(leads) > 0.02 and sum(lead > 0 for lead in leads) >= 3


@pytest.mark.slow
def test_with_two_objectives_the_surrogate_covers_more_area_than_random(tmp_path):
    def area(sampler, seed):
        found = go_on(_study(tmp_path / f"{sampler}{seed}", sampler, seed, "latency"), 24)
        points = sorted((t.estimate.predicted_ms, t.accuracy) for t in found if t.outcome == "trained")
        steps = np.geomspace(min(estimates([c.genotype])[0].predicted_ms for c in found), BUDGET_MS, 200)
        return np.mean([max((a for ms, a in points if ms <= step), default=0.3) for step in steps])

    assert np.mean([area("surrogate", seed) - area("random", seed) for seed in range(3)]) > 0.005


def test_the_surrogate_computes_on_one_thread_and_leaves_the_others_as_they_were(tmp_path, monkeypatch):
    threads = []
    predicted = module.predicted

    def counted(processes, items):
        threads.append({lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"})
        return predicted(processes, items)

    monkeypatch.setattr(module, "predicted", counted)
    with threadpool_limits(2, user_api="blas"):
        go_on(_study(tmp_path / "a", "surrogate"), 7)
        assert threads and all(found == {1} for found in threads)
        assert {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"} == {2}


class _Promise:
    """A gain: the more parameters the better."""

    def __init__(self, pool):
        self.best = max(pool, key=lambda c: self([c])[0])
        [self.most] = self([self.best])

    def __call__(self, candidates):
        return np.array([float(c.estimate.params + len(c.text)) for c in candidates])


@pytest.mark.parametrize("name", space_names())
def test_climbing_finds_what_is_better_than_the_pool_and_stays_feasible(name):
    space, improved = load_space(name), 0
    middle = sorted(c.estimate.bound_ms for c in Pool(space, estimates, lambda e: True, 0).drawn(200))[100]
    for seed in range(8):
        costed = []

        def estimate(genotypes, costed=costed):
            costed += genotypes
            return estimates(genotypes)

        pool = Pool(space, estimate, lambda e: e.fits(Limits(middle)), seed)
        *known, first, second, third = pool.drawn(8)
        costed.clear()
        gain = _Promise([first, second, third])
        found = Surrogate(pool, seed)._local_search(gain, {c.text for c in [*known, first, second, third]})
        assert len(costed) <= module._STEPS * module._COSTED
        assert found.estimate == estimates([found.genotype])[0] and found.estimate.fits(Limits(middle))
        assert found.text not in {c.text for c in known}
        [gained] = gain([found])
        assert gained >= gain.most
        improved += gained > gain.most
    assert improved >= 4


def test_expected_improvement_is_the_mean_over_draws():
    rng = np.random.default_rng(0)
    mean, deviation = np.array([0.0, 1.0, -2.0]), np.array([1.0, 0.5, 2.0])
    draws = mean + deviation * rng.standard_normal((400_000, 3))
    expected = np.maximum(draws - 0.7, 0).mean(axis=0)
    assert module._improvement(mean, deviation, 0.7) == pytest.approx(expected, rel=0.03)


def test_the_gained_area_is_the_mean_over_draws_of_the_area_itself():
    rng = np.random.default_rng(1)
    known_costs, known = np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.5, 0.7, 0.9, 0.6])
    costs, mean, deviation = np.array([1.5, 0.8, 5.0]), np.array([0.6, 0.4, 0.9]), np.array([0.2, 0.3, 0.1])
    steps = np.linspace(np.log(0.8), np.log(5.0), 2001)[:-1] + (np.log(5.0) - np.log(0.8)) / 4000
    level = np.array([max((a for c, a in zip(known_costs, known, strict=True) if np.log(c) <= s), default=0.5) for s in steps])
    for i, cost in enumerate(costs):
        draws = mean[i] + deviation[i] * rng.standard_normal(4000)
        gains = [np.maximum(d - level[steps >= np.log(cost)], 0).sum() * (steps[1] - steps[0]) for d in draws]
        found = module._area_gained(mean, deviation, costs, known_costs, known, between=(0.8, 5.0))[i]
        assert found == pytest.approx(np.mean(gains), rel=0.08, abs=1e-6)


def _trained(*accuracies):
    return SimpleNamespace(rungs=list(accuracies), accuracy=accuracies[-1], outcome="trained")


def test_a_training_is_expected_to_go_on_as_those_that_did():
    rng = np.random.default_rng(0)
    early = np.append(rng.uniform(0.4, 0.8, 400), 0.1)
    final = np.append(0.6 + 0.3 * early[:-1] + rng.normal(0, 0.01, 400), 0.1)  # the last one never learned anything
    extrapolation = module._Extrapolation.of([_trained(a, (a + b) / 2, b) for a, b in zip(early, final, strict=True)], 1)
    expected, error = extrapolation(0.7)
    assert expected == pytest.approx(0.81, abs=0.005)
    assert error == pytest.approx(module._ERROR / 1.4826 * 0.01, rel=0.15)  # of a normal distribution's deviation
    below, far_below = extrapolation(0.5), extrapolation(0.2)
    assert (below[0], far_below[0]) == (pytest.approx(0.75, abs=0.005), pytest.approx(0.66, abs=0.01))
    assert error < below[1] < far_below[1] == pytest.approx(module._BEND * 0.3 * 0.4, rel=0.1)


def test_what_little_was_seen_of_a_training_s_end_moves_the_outlook_little():
    assert module._Extrapolation.of([], 1)(0.3) == (0.3, 0.0)
    pair = [_trained(0.5, 0.7), _trained(0.6, 0.8)]
    assert module._Extrapolation.of(pair, 1)(0.55) == (pytest.approx(0.75), pytest.approx(0.0))
    flat = [*pair, _trained(0.4, 0.8)]
    assert module._Extrapolation.of(flat, 1).slope == pytest.approx(module._SLOPE / 4)
    assert module._Extrapolation.of([_trained(0.5, 0.7)] * 5, 1)(0.4)[0] == pytest.approx(0.6)


def test_evidence_holds_what_each_trial_is_taken_to_reach(tmp_path):
    begun = _study(tmp_path / "a", "random")
    go_on(begun, 24)
    evidence = module._evidence(begun.trials(), [t for t in begun.trials() if t.outcome == "trained"])
    assert len(evidence.trials) == len(evidence.accuracies) == len(evidence.errors)
    assert {t.outcome for t in evidence.trials} == {"trained", "stopped"}
    for trial, accuracy, error in zip(evidence.trials, evidence.accuracies, evidence.errors, strict=True):
        if trial.outcome == "trained":
            assert accuracy >= trial.accuracy and error == 0.0
        else:  # the second epoch adds 0.05
            assert accuracy >= trial.accuracy + 0.05 - 2 * error and error > 0.0


def test_evidence_of_a_screened_trial_is_its_probe_through_the_line_of_those_that_were_trained(tmp_path):
    begun = _study(tmp_path / "a", "random")
    go_on(begun, 24, probed=True)
    evidence = module._evidence(begun.trials(), [t for t in begun.trials() if t.outcome == "trained"])
    trained = [t for t in begun.trials() if t.outcome == "trained"]
    screened = [i for i, t in enumerate(evidence.trials) if t.outcome == "screened"]
    assert screened and {t.outcome for t in evidence.trials} == {"trained", "stopped", "screened"}
    line = module._Extrapolation.of([SimpleNamespace(rungs=[t.probe, *t.accuracies], accuracy=t.accuracy) for t in trained], 1)
    expected = np.array([line(evidence.trials[i].probe) for i in screened])
    assert evidence.errors[screened] == pytest.approx(expected[:, 1])
    assert np.all(evidence.accuracies[screened] >= expected[:, 0] - 1e-12)  # outliers are raised to the lower fence
    assert evidence.accuracies[screened] == pytest.approx(np.maximum(expected[:, 0], evidence.accuracies.min()))
