"""Estimator: what a search knows of genotypes' latency, by prediction and bound first, and by what it has timed of them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from evaluators.cost import cost
from evaluators.latency.predict.predictor import Prediction, Predictor
from evaluators.latency.timing.measure import Measurement
from nas.budget.estimate import Estimate, uncovered
from nas.budget.latency_budget import LatencyBudget, growth
from nas.records import Checked, Measured
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_BELIEVED = 3  # times of networks that count for the predictions being right in the median
_STEPS = 100  # a correction is kept to a hundredth, so that a search seldom has to predict everything anew


class Estimator:
    """Estimates of genotypes, each at its own input; `above_quiet` leads to the percentile under typical load."""

    def __init__(self, predictor: Predictor, task: Task, budget: LatencyBudget, above_quiet: float) -> None:
        self._predictor, self._task, self._budget, self._above_quiet = predictor, task, budget, above_quiet
        self._off = self._late = self.growth = 1.0
        self._timed: dict[str, float] = {}

    def estimate(self, genotypes: Sequence[Genotype]) -> list[Estimate]:
        """Predicted latency, its bound as corrected so far, its own time where it has one, and cost; of many at once."""
        costs = [cost(g, self._task.of(g)) for g in genotypes]
        predictions = self._predictor.covered(genotypes, self._task)
        known = zip(genotypes, predictions, costs, strict=True)
        return [self._estimate(p, c.params, c.macs, self._timed.get(g.id)) for g, p, c in known]

    def _estimate(self, prediction: Prediction | None, params: int, macs: int, timed_ms: float | None) -> Estimate:
        if prediction is None:
            return uncovered(params, macs, timed_ms)
        predicted_ms = prediction.ms * self._above_quiet
        bound_ms = prediction.bound_ms * self._above_quiet * self.growth
        return Estimate(predicted_ms, bound_ms, params, macs, prediction.extrapolated, predicted_ms * self._off, timed_ms)

    def own_bound_ms(self, genotype: Genotype) -> float:
        """The bound of the promised percentile under typical load, before any correction."""
        return self._predictor.predict(genotype, self._task).bound_ms * self._above_quiet

    def checked(self, genotype: Genotype, estimate: Estimate, found: Measurement) -> Checked:
        """The record of a network that was timed untrained; of its time only `robust_ms` counts, that as of a quiet machine.

        timed_ms: the upper bound of its time under typical load, by the error of measuring. score: time over own bound. Of a
        network that the device profile does not cover the record says nothing of prediction and bound.
        """
        usual_ms = found.robust_ms * self._above_quiet
        record = Checked(**asdict(found), timed_ms=usual_ms * (1 + self._budget.quantile * found.spread))
        if not estimate.covered:
            return record
        score = usual_ms / self.own_bound_ms(genotype)
        return replace(record, predicted_ms=estimate.predicted_ms, bound_ms=estimate.bound_ms, score=score)

    def learn(self, checked: Mapping[str, Checked], over: Mapping[str, Measured]) -> bool:
        """Takes in what was timed, and what was over the budget in the end; whether estimates are others than before.

        Both are records by genotype id. The bound is corrected by `growth`, and so are times, by what those that were
        over took in the end over what let them pass: their time, or else their bound. What a network will likely take is its
        prediction times the median of time over prediction.
        """
        before = self.growth, self._off, self._late
        confidence, timed = self._budget.confidence, {i: r.timed_ms for i, r in checked.items()}
        scores = [r.score for r in checked.values()] + [r.score for r in over.values()]
        self.growth = growth([score for score in scores if score is not None], confidence)
        self._late = growth([_over_what_let_pass(r, timed.get(i)) for i, r in over.items()], confidence)
        ratios = [r.robust_ms * self._above_quiet / r.predicted_ms for r in checked.values() if r.predicted_ms]
        self._off = round(statistics.median([1.0] * _BELIEVED + ratios) * _STEPS) / _STEPS
        self._timed = {i: ms * self._late for i, ms in timed.items()}
        return before != (self.growth, self._off, self._late)


def _over_what_let_pass(record: Measured, timed_ms: float | None) -> float:
    if timed_ms is not None:
        return record.as_usual_ms / timed_ms
    return 1.0 if record.score is None else record.score
