"""The surrogate: expected improvement by a Gaussian process over genes and cheap figures, maximised over feasible candidates.

Figures of a candidate that cost nothing (MACs, parameters, depth, predicted latency) stand beside its genes, so that a few
trainings, the anchors' among them, say much about the rest. With a second objective, which is known before training, what
is maximised is the expected gain in the area under the Pareto front (Emmerich et al., 2006), over the log of the cost.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata, theilslopes
from threadpoolctl import ThreadpoolController

from nas.pareto import front
from nas.run.trials import Proposal
from nas.samplers.common.features import Scaling, stacked
from nas.samplers.common.gaussian_process import GaussianProcess, Views, predicted
from nas.samplers.common.genes import GeneSampler
from nas.samplers.common.pool import Candidate, Pool
from search_spaces.registry import Value

Array = NDArray[np.float64]

_NEAR = 320  # candidates near the pool's origins, in place of random ones
_DRAWN, _DRAWN_A_TRIAL, _MOST_DRAWN = 200, 20, 1900  # random feasible candidates in the pool
_PARENTS = 6  # of the best, whose mutations and crossings are in the pool
_CHILDREN, _CROSSINGS = 24, 24  # mutations of a parent, crossings of two
_STEPS, _SKETCHES, _COSTED = 3, 30, 2  # of the climb; mutations looked at in a step, and how many of them are costed at most
_LIKELY, _WEIGHED = 4, 64  # sets of hyperparameters beside the fitted one; and how many of the pool they weigh
_SLOPE = 1.0  # of accuracy in the end over accuracy early on, as if one training had shown it
_OFF = 2.2  # median absolute deviations that what is expected may be off by
_BENT = 0.5  # of what the slope takes off below the middle, which it may be off by as well
_STARTUP = 4  # trained candidates or anchors before there is anything to fit
_STARTUP_DRAWS = 16  # of which the largest is proposed


@dataclass(frozen=True)
class _Evidence:
    """Trials that were trained, what accuracy each is taken to have when trained to the end, and how far that may be off."""

    trials: list[Proposal]
    accuracies: Array
    errors: Array


class Surrogate(GeneSampler):
    def propose(self, seen: Sequence[Proposal], cost: str | None) -> Mapping[str, Value]:
        known = {s.genotype.text for s in seen if s.outcome != "rejected"}
        evidence = _evidence(seen)
        if len(evidence.trials) < _STARTUP:
            drawn = self._pool.near(_NEAR) or self._pool.drawn(_STARTUP_DRAWS * (1 + len(seen)))
            fresh = [c for c in drawn if c.text not in known]
            return _largest(fresh).genes if fresh else {}
        pool = [c for c in self._candidates(evidence, cost) if c.text not in known]
        if not pool:
            return {}
        running = [s for s in seen if s.outcome == "running"]
        with _threads().limit(limits=1, user_api="blas"):
            gain = _Gain(pool, evidence, self._described(evidence.trials), self._described(running), cost=cost, rng=self._rng)
            return self._climbed(gain, {*known, *(c.text for c in pool)}).genes

    def _climbed(self, gain: "_Gain", met: set[str]) -> Candidate:
        """The best of the pool, or of what is found by some steps up from there.

        Costing a new block takes milliseconds: of many mutations only those are costed that promise most with the figures of
        what they are mutations of, one after the other until one is better.
        """
        best, most = gain.best, gain.most
        for _ in range(_STEPS):
            sketches = list({s.text: s for s in self._pool.sketched(best, _SKETCHES, self._rng) if s.text not in met}.values())
            if not sketches:
                break
            for i in np.argsort(-gain(sketches), kind="stable")[:_COSTED]:
                met.add(sketches[i].text)
                costed = self._pool.costed([sketches[i]])
                if costed and (gained := float(gain(costed)[0])) > most:
                    [best], most = costed, gained
                    break
        return best

    def _described(self, trials: Sequence[Proposal]) -> list[Candidate]:
        return [self._pool.trial(s.genes, s.genotype, s.estimate) for s in trials]

    def _candidates(self, evidence: _Evidence, cost: str | None) -> list[Candidate]:
        """Near the origins, or else at random; mutations of the best, and crossings of the best with the next best.

        Every genotype once. What is near a donor inherits nearly all that it knows: of networks that differ from EfficientNet-
        Lite0 in 2 to 4 genes most are as good as it, of those that do in 8 none (benchmarks/photos.md).
        """
        drawn = min(_MOST_DRAWN, _DRAWN + _DRAWN_A_TRIAL * len(evidence.trials))
        found = self._pool.near(_NEAR) or self._pool.drawn(drawn)
        parents = _parents(evidence, cost)
        for parent in parents:
            found += self._pool.mutated(parent.genes, _CHILDREN)
        for other in parents[1:]:
            found += self._pool.crossed(parents[0].genes, other.genes, _CROSSINGS)
        return list({c.text: c for c in found}.values())


@cache
def _threads() -> ThreadpoolController:
    """Of this process's libraries. On matrices of this size BLAS is faster by one thread than by two where workers keep the
    cores busy (benchmarks/search.md).
    """
    return ThreadpoolController()


class _Gain:
    """What training a candidate is expected to gain, by the `evidence` of `trials` and while others run.

    It is the mean over sets of hyperparameters that are about as likely (Snoek et al., arXiv:1206.2944): by the fitted set
    alone, a few trainings seem to say more than they do. That one alone tells which of the pool the others weigh.
    """

    def __init__(
        self,
        pool: Sequence[Candidate],
        evidence: _Evidence,
        trials: Sequence[Candidate],
        running: Sequence[Candidate],
        *,
        cost: str | None,
        rng: random.Random,
    ) -> None:
        items = [*pool, *trials, *running]
        figures, make_up, genes, branches = rows = _rows(items)
        self._scalings = [Scaling.of(figures, True), Scaling.of(make_up, True), Scaling.of(genes)]
        if branches.any():  # without any, this is no view of theirs
            self._scalings.append(Scaling.of(branches))
        parts = (np.split(view, [len(pool), len(pool) + len(trials)]) for view in self._scaled(rows))
        untrained, trained, in_flight = zip(*parts, strict=True)
        self._cost = cost
        if cost is not None:
            self._known_costs = self._costs(trials, cost)
            self._costs_between = [f(self._costs([*pool, *trials], cost)) for f in (np.min, np.max)]
        fitted = GaussianProcess(trained, evidence.accuracies, errors=evidence.errors)
        self._processes = [fitted, *fitted.likely(_LIKELY, rng)]
        if running:  # believed to come out as expected, so that workers are not sent to the same place
            believed, _ = predicted(self._processes, in_flight)
            self._processes = [p.given(in_flight, b) for p, b in zip(self._processes, believed, strict=True)]
        self._levels = [process.levels[: len(trials)] for process in self._processes]
        first = np.argsort(-self._expected(pool, untrained, 1), kind="stable")[:_WEIGHED]
        gains = self._expected([pool[i] for i in first], tuple(view[first] for view in untrained))
        self.best, self.most = pool[first[int(np.argmax(gains))]], float(gains.max())

    def __call__(self, candidates: Sequence[Candidate]) -> Array:
        return self._expected(candidates, self._scaled(_rows(candidates)))

    def _expected(self, candidates: Sequence[Candidate], views: Views, processes: int | None = None) -> Array:
        """The mean over the first of the `processes`, or all."""
        costs = None if self._cost is None else self._costs(candidates, self._cost)
        beliefs = zip(*predicted(self._processes[:processes], views), self._levels[:processes], strict=True)
        gains = [
            _improvement(mean, deviation, float(levels.max()))
            if costs is None
            else _area_gained(mean, deviation, costs, self._known_costs, levels, between=self._costs_between)
            for mean, deviation, levels in beliefs
        ]
        return np.asarray(np.mean(gains, axis=0))

    def _costs(self, candidates: Sequence[Candidate], cost: str) -> Array:
        return np.array([c.estimate.figure(cost) for c in candidates])

    def _scaled(self, rows: Sequence[Array]) -> Views:
        return tuple(scaling(view) for scaling, view in zip(self._scalings, rows, strict=False))


def _rows(items: Sequence[Candidate]) -> tuple[Array, Array, Array, Array]:
    """The views of items, not scaled yet: figures, make-up, genes, branches."""
    figures, genes = np.array([item.figures for item in items]), np.array([item.gene_row for item in items])
    return figures, stacked([item.make_up for item in items]), genes, stacked([item.branches for item in items])


def _evidence(seen: Sequence[Proposal]) -> _Evidence:
    """Trials with an accuracy or a probe; what stopped early is credited with what is to be expected after those that went on.

    Outliers far below the rest are raised to the lower fence (Tukey): how bad a bad network is says nothing of the good.
    One that failed counts as the worst.
    """
    trained = [s for s in seen if s.outcome == "trained"]
    usable = [s for s in seen if s.outcome in ("trained", "stopped", "screened") and s.rungs]
    rungs = {len(s.rungs) for s in usable if s.outcome != "trained"}
    outlooks = {rung: _Outlook.of(trained, rung) for rung in rungs}
    credits = [(s.accuracy, 0.0) if s.outcome == "trained" else outlooks[len(s.rungs)](s.rungs[-1]) for s in usable]
    failed = [s for s in seen if s.outcome == "failed"] if credits else []
    credits += [(min(accuracy for accuracy, _ in credits), 0.0) for _ in failed]
    accuracies, errors = np.array(credits).reshape(-1, 2).T
    if len(usable) >= _STARTUP:
        low, high = np.quantile(accuracies[: len(usable)], [0.25, 0.75])
        accuracies = np.maximum(accuracies, low - 1.5 * (high - low))
    return _Evidence(usable + failed, accuracies, errors)


@dataclass(frozen=True)
class _Outlook:
    """Predicts final accuracy from that of an early epoch or of the probe (Theil-Sen fit over fully trained networks).

    Networks that were stopped lie below most of these, where the line may bend: the variance grows with the distance.
    """

    middle: float
    level: float
    slope: float
    error: float

    @classmethod
    def of(cls, trained: Sequence[Proposal], rung: int) -> "_Outlook":
        """From a rung, from 1: the probe is the first where there is one."""
        pairs = [(s.rungs[rung - 1], s.accuracy) for s in trained if len(s.rungs) >= rung]
        if not pairs:
            return cls(0.0, 0.0, _SLOPE, 0.0)
        early, final = np.array(pairs).T
        slope = _SLOPE
        if len(pairs) > 2 and np.ptp(early) > 0:
            slope = (len(pairs) * max(0.0, float(theilslopes(final, early).slope)) + _SLOPE) / (len(pairs) + 1)
        middle = float(np.median(early))
        above = final - slope * (early - middle)
        level = float(np.median(above))
        return cls(middle, level, slope, _OFF * float(np.median(np.abs(above - level))))

    def __call__(self, early: float) -> tuple[float, float]:
        """The accuracy that is expected, and its standard error."""
        along = self.slope * (early - self.middle)
        return self.level + along, math.hypot(self.error, _BENT * min(0.0, along))


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
    return np.asarray(deviation * (z * ndtr(z) + np.exp(-z * z / 2) / math.sqrt(2 * math.pi)))


def _area_gained(
    mean: Array, deviation: Array, costs: Array, known_costs: Array, known: Array, *, between: Sequence[float]
) -> Array:
    """Expected gain of the area under the front of accuracy over log cost, where costs are `between` two.

    Between two known costs the accuracy to beat is the best that is known at the lower one; below them all it is the worst.
    """
    lowest, highest = between
    steps = [(known_costs[i], known[i]) for i in front(list(zip(known_costs.tolist(), known.tolist(), strict=True)))]
    starts = np.log([lowest, *(cost for cost, _ in steps)])
    ends = np.append(starts[1:], np.log(highest))
    levels = [float(known.min()), *(level for _, level in steps)]
    widths = np.maximum(ends - np.maximum(starts, np.log(costs)[:, None]), 0.0)
    gains = np.stack([_improvement(mean, deviation, level) for level in levels], axis=1)
    return np.asarray(np.sum(widths * gains, axis=1))


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return Surrogate(pool, seed)
