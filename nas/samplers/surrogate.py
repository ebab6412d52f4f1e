"""The surrogate: expected improvement by a Gaussian process over genes and cheap figures, maximised over a feasible pool.

Figures of a candidate that cost nothing (MACs, parameters, depth, predicted latency) stand beside its genes, so that a few
trainings, the anchors' among them, say much about the rest. With a second objective, which is known before training, what
is maximised is the expected gain in the area under the Pareto front (Emmerich et al., 2006), over the log of the cost.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from nas.description import at_usual_distance, stacked, standardised
from nas.gaussian_process import GaussianProcess
from nas.pareto import front
from nas.pool import Candidate, Pool
from nas.proposal import Proposal
from nas.samplers._genes import GeneSampler
from search_spaces.registry import Value

Array = NDArray[np.float64]

_DRAWN, _DRAWN_A_TRIAL, _MOST_DRAWN = 200, 20, 1600  # random feasible candidates in the pool
_PARENTS = 6  # of the best, whose mutations and crossings are in the pool
_CHILDREN, _CHILDREN_A_TRIAL, _MOST_CHILDREN = 24, 2, 120  # mutations of a parent, more the longer it stays among the best
_CROSSINGS = 24
_STARTUP = 4  # trained candidates or anchors before there is anything to fit
_STARTUP_DRAWS = 16  # of which the largest is proposed


@dataclass(frozen=True)
class _Evidence:
    """Trials that were trained, and what accuracy each is taken to have when trained to the end."""

    trials: list[Proposal]
    accuracies: Array


class Surrogate(GeneSampler):
    def propose(self, seen: Sequence[Proposal], cost: str | None) -> Mapping[str, Value]:
        known = {s.genotype.text for s in seen if s.outcome != "rejected"}
        evidence = _evidence(seen)
        if len(evidence.trials) < _STARTUP:
            fresh = [c for c in self._pool.drawn(_STARTUP_DRAWS * (1 + len(seen))) if c.text not in known]
            return _largest(fresh).genes if fresh else {}
        pool = [c for c in self._candidates(seen, evidence, cost) if c.text not in known]
        if not pool:
            return {}
        return pool[int(np.argmax(self._gains(pool, seen, evidence, cost)))].genes

    def _candidates(self, seen: Sequence[Proposal], evidence: _Evidence, cost: str | None) -> list[Candidate]:
        """At random, mutations of the best, and crossings of the best with the next best; every genotype once."""
        found = self._pool.drawn(min(_MOST_DRAWN, _DRAWN + _DRAWN_A_TRIAL * len(evidence.trials)))
        parents = _parents(evidence, cost)
        for parent in parents:
            age = seen[-1].number - parent.number
            found += self._pool.mutated(parent.genes, min(_MOST_CHILDREN, _CHILDREN + _CHILDREN_A_TRIAL * age))
        for other in parents[1:]:
            found += self._pool.crossed(parents[0].genes, other.genes, _CROSSINGS)
        return list({c.text: c for c in found}.values())

    def _gains(self, pool: Sequence[Candidate], seen: Sequence[Proposal], evidence: _Evidence, cost: str | None) -> Array:
        running = [s for s in seen if s.outcome == "running"]
        items = [*pool, *(self._pool.trial(s.genes, s.genotype, s.estimate) for s in [*evidence.trials, *running])]
        views = [
            at_usual_distance(standardised(np.stack([item.figures for item in items]))),
            at_usual_distance(standardised(stacked([item.make_up for item in items]))),
            at_usual_distance(np.stack([item.gene_row for item in items])),
        ]
        if any(item.branches.any() for item in items):
            views.append(at_usual_distance(stacked([item.branches for item in items])))
        parts = zip(*(np.split(view, [len(pool), len(pool) + len(evidence.trials)]) for view in views), strict=True)
        candidates, trained, in_flight = parts
        process = GaussianProcess(trained, evidence.accuracies)
        if running:  # believed to come out as expected, so that workers are not sent to the same place
            process = process.given(in_flight, process.predict(in_flight)[0])
        mean, deviation = process.predict(candidates)
        levels = process.predict(trained)[0]
        if cost is None:
            return _improvement(mean, deviation, float(levels.max()))
        points = [s.estimate.figure(cost) for s in evidence.trials]
        costs = np.array([c.estimate.figure(cost) for c in pool])
        return _area_gained(mean, deviation, costs, np.array(points), levels)


def _evidence(seen: Sequence[Proposal]) -> _Evidence:
    """Trials with an accuracy: one that was stopped early is credited with what the others gained from there on.

    Outliers far below the rest are raised to the lower fence (Tukey): how bad a bad network is says nothing of the good.
    One that failed counts as the worst.
    """
    trained = [s for s in seen if s.outcome == "trained"]
    usable = [s for s in seen if s.outcome in ("trained", "stopped") and s.accuracies]
    gains = {epochs: _later_gain(trained, epochs) for epochs in {len(s.accuracies) for s in usable}}
    credited = [s.accuracies[-1] + gains[len(s.accuracies)] for s in usable]
    failed = [s for s in seen if s.outcome == "failed"] if credited else []
    accuracies = np.array(credited + [min(credited, default=0.0)] * len(failed))
    if len(credited) >= _STARTUP:
        low, high = np.quantile(credited, [0.25, 0.75])
        accuracies = np.maximum(accuracies, low - 1.5 * (high - low))
    return _Evidence(usable + failed, accuracies)


def _later_gain(trained: Sequence[Proposal], epochs: int) -> float:
    return statistics.median([s.accuracies[-1] - s.accuracies[min(epochs, len(s.accuracies)) - 1] for s in trained] or [0.0])


def _parents(evidence: _Evidence, cost: str | None) -> list[Proposal]:
    """The best that have genes; with a second objective those of the Pareto front come first."""
    order = list(np.argsort(-evidence.accuracies, kind="stable"))
    if cost is not None:
        costs = [s.estimate.figure(cost) for s in evidence.trials]
        on_front = front(list(zip(costs, evidence.accuracies.tolist(), strict=True)))
        order = on_front[::-1] + [i for i in order if i not in on_front]
    return [s for s in (evidence.trials[i] for i in order) if s.genes][:_PARENTS]


def _largest(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the highest mean rank of MACs and parameters: who uses the budget is usually better."""
    ranks = sum(rankdata([getattr(c.estimate, name) for c in candidates]) for name in ("macs", "params"))
    return candidates[int(np.argmax(ranks))]


def _improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Expected improvement over `best` (Mockus, 1978)."""
    z = (mean - best) / deviation
    return np.asarray(deviation * (z * norm.cdf(z) + norm.pdf(z)))


def _area_gained(mean: Array, deviation: Array, costs: Array, known_costs: Array, known: Array) -> Array:
    """Expected gain of the area under the front of accuracy over log cost, up to the largest cost among all.

    Between two known costs the accuracy to beat is the best that is known at the lower one; below them all it is the worst.
    """
    steps = [(known_costs[i], known[i]) for i in front(list(zip(known_costs.tolist(), known.tolist(), strict=True)))]
    starts = np.log([min(costs.min(), known_costs.min()), *(cost for cost, _ in steps)])
    ends = np.append(starts[1:], np.log(max(costs.max(), known_costs.max())))
    levels = [float(known.min()), *(level for _, level in steps)]
    widths = np.maximum(ends - np.maximum(starts, np.log(costs)[:, None]), 0.0)
    gains = np.stack([_improvement(mean, deviation, level) for level in levels], axis=1)
    return np.asarray(np.sum(widths * gains, axis=1))


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return Surrogate(pool, seed)
