"""Bayesian optimisation: a Gaussian process over genes, size and predicted latency; expected improvement.

Features are genes and what is known before training (MACs, parameters, depth, predicted latency), so that a few trainings,
including the anchors', are informative about the rest. With a second objective, which is known before training, the
acquisition function is the expected gain in area under the Pareto front (Emmerich et al., 2006), over the log of the cost.
"""

import math
import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata, theilslopes
from threadpoolctl import ThreadpoolController

from nas.pareto import front
from nas.run.trials import Proposal, Trials
from nas.samplers.common.features import Scaling, stacked
from nas.samplers.common.gaussian_process import GaussianProcess, Views, conditioned, predicted
from nas.samplers.common.genes import GeneSampler
from nas.samplers.common.local import Local
from nas.samplers.common.pool import Candidate, Pool
from search_spaces.registry import Value

Array = NDArray[np.float64]

_NEAR = 320  # candidates near the pool's origins, used instead of random ones
_DRAWN, _DRAWN_A_TRIAL, _MOST_DRAWN = 200, 20, 1900  # random candidates: base number, more per trial, maximum
_PARENTS = 6  # best trials, for mutation and crossover
_CHILDREN, _CROSSINGS = 24, 24  # mutations per parent, crossovers per pair
_STEPS, _SKETCHES, _COSTED = 3, 30, 2  # local search: steps, mutations per step, estimates per step at most
_LIKELY, _WEIGHED = 4, 64  # additional draws of hyperparameters, and candidates that they are evaluated on
_SLOPE = 1.0  # prior slope of final over early accuracy, weighted as one observation
_ERROR = 2.2  # standard error of predicted accuracy, in median absolute deviations
_BEND = 0.5  # additional error below the median, as a share of the slope's contribution
_STARTUP = 4  # trained candidates or anchors before the first fit
_STARTUP_DRAWS = 16  # random candidates, of which the largest is proposed


@dataclass(frozen=True)
class _Evidence:
    """Trials, their final accuracies (extrapolated if not fully trained), and standard errors of these."""

    trials: list[Proposal]
    accuracies: Array
    errors: Array


class Surrogate(GeneSampler):
    def propose(self, seen: Trials, cost: str | None) -> Mapping[str, Value]:
        known, local = seen.known, Local.of(seen)
        evidence = _evidence(local.evaluated, local.finished)
        if len(evidence.trials) < _STARTUP:
            drawn = self._pool.near(_NEAR) or self._pool.drawn(_STARTUP_DRAWS * (1 + len(seen)))
            fresh = [c for c in drawn if c.text not in known]
            return _largest(fresh).genes if fresh else {}
        pool = [c for c in self._candidates(evidence, cost) if c.text not in known]
        if not pool:
            return {}
        running = list(seen.running.values())
        with _threads().limit(limits=1, user_api="blas"):
            gain = _Gain(pool, evidence, self._described(evidence.trials), self._described(running), cost=cost, rng=self._rng)
            return self._local_search(gain, {c.text for c in pool}, known).genes

    def _local_search(self, gain: "_Gain", met: set[str], known: Container[str] = ()) -> Candidate:
        """Improve the pool's best candidate by a few steps of local search.

        Estimating a new block takes milliseconds, so mutations are first ranked with their parent's figures, and only the most
        promising are estimated, until one is better.
        """
        best, most = gain.best, gain.most
        for _ in range(_STEPS):
            sketched = {s.text: s for s in self._pool.sketched(best, _SKETCHES, self._rng)}
            sketches = [sketch for text, sketch in sketched.items() if text not in met and text not in known]
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
        """Candidates near the origins, or else random ones; mutations of the best trials, and crossovers with the best.

        Without duplicates. Networks near the donor inherit nearly everything: of those that differ from EfficientNet-Lite0 in
        2 to 4 genes most are as accurate, of those that differ in 8 none (benchmarks/photos.md).
        """
        found = prepare(self._pool, len(evidence.trials))
        parents = _parents(evidence, cost)
        for parent in parents:
            found += self._pool.mutated(parent.genes, _CHILDREN)
        for other in parents[1:]:
            found += self._pool.crossed(parents[0].genes, other.genes, _CROSSINGS)
        return list({c.text: c for c in found}.values())


@cache
def _threads() -> ThreadpoolController:
    """Controls BLAS threads: for these matrices one thread is faster than two while workers use the cores
    (benchmarks/search.md).
    """
    return ThreadpoolController()


class _Gain:
    """Acquisition function, given the `evidence` of `trials` and the trials that are `running`.

    Averaged over several draws of the hyperparameters (Snoek et al., arXiv:1206.2944), because the fitted ones alone are
    overconfident after few trainings. The fitted ones preselect the candidates of the pool that are averaged.
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
        if branches.any():  # only a view if there are branches
            self._scalings.append(Scaling.of(branches))
        parts = (np.split(view, [len(pool), len(pool) + len(trials)]) for view in self._scaled(rows))
        untrained, trained, in_flight = zip(*parts, strict=True)
        self._cost = cost
        if cost is not None:
            self._known_costs = self._costs(trials, cost)
            self._costs_between = [f(self._costs([*pool, *trials], cost)) for f in (np.min, np.max)]
        fitted = GaussianProcess(trained, evidence.accuracies, errors=evidence.errors)
        self._processes = [fitted, *fitted.likely(_LIKELY, rng)]
        if running:  # assumed to get their predicted accuracy, so that workers get different candidates
            believed, _ = predicted(self._processes, in_flight)
            self._processes = conditioned(self._processes, in_flight, list(believed))
        self._levels = [process.levels[: len(trials)] for process in self._processes]
        first = np.argsort(-self._expected(pool, untrained, 1), kind="stable")[:_WEIGHED]
        gains = self._expected([pool[i] for i in first], tuple(view[first] for view in untrained))
        self.best, self.most = pool[first[int(np.argmax(gains))]], float(gains.max())

    def __call__(self, candidates: Sequence[Candidate]) -> Array:
        return self._expected(candidates, self._scaled(_rows(candidates)))

    def _expected(self, candidates: Sequence[Candidate], views: Views, processes: int | None = None) -> Array:
        """Mean expected gain over the first `processes`, or all."""
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
    """Unscaled views: figures, composition, genes, branches."""
    figures, genes = np.array([item.figures for item in items]), np.array([item.gene_row for item in items])
    return figures, stacked([item.make_up for item in items]), genes, stacked([item.branches for item in items])


def _evidence(seen: Sequence[Proposal], finished: Sequence[Proposal]) -> _Evidence:
    """Collect evaluated trials; one stopped early enters with its extrapolated accuracy, by `finished`, and a larger variance.

    Outliers far below the rest are raised to Tukey's lower fence, because how bad they are is irrelevant for good networks.
    Failed trials count as the worst.
    """
    usable = [s for s in seen if s.outcome in ("trained", "stopped", "screened") and s.rungs]
    rungs = {len(s.rungs) for s in usable if s.outcome != "trained"}
    extrapolations = {rung: _Extrapolation.of(finished, rung) for rung in rungs}
    credits = [(s.accuracy, 0.0) if s.outcome == "trained" else extrapolations[len(s.rungs)](s.rungs[-1]) for s in usable]
    failed = [s for s in seen if s.outcome == "failed"] if credits else []
    credits += [(min(accuracy for accuracy, _ in credits), 0.0) for _ in failed]
    accuracies, errors = np.array(credits).reshape(-1, 2).T
    if len(usable) >= _STARTUP:
        low, high = np.quantile(accuracies[: len(usable)], [0.25, 0.75])
        accuracies = np.maximum(accuracies, low - 1.5 * (high - low))
    return _Evidence(usable + failed, accuracies, errors)


@dataclass(frozen=True)
class _Extrapolation:
    """Predicts final accuracy from that of an early epoch or of the probe (Theil-Sen fit over fully trained networks).

    Stopped networks are below most of these, where the relation may not be linear, so the variance grows with the distance.
    """

    middle: float
    level: float
    slope: float
    error: float

    @classmethod
    def of(cls, trained: Sequence[Proposal], rung: int) -> "_Extrapolation":
        """Fit to the values at a rung, counted from 1; the probe, if any, is the first."""
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
        return cls(middle, level, slope, _ERROR * float(np.median(np.abs(above - level))))

    def __call__(self, early: float) -> tuple[float, float]:
        """Predicted final accuracy, and its standard error."""
        along = self.slope * (early - self.middle)
        return self.level + along, math.hypot(self.error, _BEND * min(0.0, along))


def _parents(evidence: _Evidence, cost: str | None) -> list[Proposal]:
    """The best trials that have genes; with a second objective, the Pareto front comes first."""
    order = list(np.argsort(-evidence.accuracies, kind="stable"))
    if cost is not None:
        costs = [s.estimate.figure(cost) for s in evidence.trials]
        on_front = front(list(zip(costs, evidence.accuracies.tolist(), strict=True)))
        order = on_front[::-1] + [i for i in order if i not in on_front]
    return [s for s in (evidence.trials[i] for i in order) if s.genes][:_PARENTS]


def _largest(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the highest mean rank of MACs and parameters; larger networks are usually more accurate."""
    ranks = sum(rankdata([getattr(c.estimate, name) for c in candidates]) for name in ("macs", "params"))
    return candidates[int(np.argmax(ranks))]


def _improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Expected improvement over `best` (Mockus, 1978)."""
    z = (mean - best) / deviation
    return np.asarray(deviation * (z * ndtr(z) + np.exp(-z * z / 2) / math.sqrt(2 * math.pi)))


def _area_gained(
    mean: Array, deviation: Array, costs: Array, known_costs: Array, known: Array, *, between: Sequence[float]
) -> Array:
    """Expected gain in area under the Pareto front of accuracy over log cost, for costs `between` two limits.

    Between two known costs, the accuracy to beat is the best at the lower cost; below all of them, the worst accuracy.
    """
    lowest, highest = between
    steps = [(known_costs[i], known[i]) for i in front(list(zip(known_costs.tolist(), known.tolist(), strict=True)))]
    starts = np.log([lowest, *(cost for cost, _ in steps)])
    ends = np.append(starts[1:], np.log(highest))
    levels = [float(known.min()), *(level for _, level in steps)]
    widths = np.maximum(ends - np.maximum(starts, np.log(costs)[:, None]), 0.0)
    gains = np.stack([_improvement(mean, deviation, level) for level in levels], axis=1)
    return np.asarray(np.sum(widths * gains, axis=1))


def prepare(pool: Pool, evaluated: int) -> list[Candidate]:
    """Candidates of a proposal after `evaluated` trials that do not depend on these."""
    return pool.near(_NEAR) or pool.drawn(min(_MOST_DRAWN, _DRAWN + _DRAWN_A_TRIAL * evaluated))


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return Surrogate(pool, seed)
