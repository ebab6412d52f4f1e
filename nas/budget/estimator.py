"""Estimator: estimates latency of genotypes, corrected by the measurements of the search."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from evaluators.cost import Cost, cost
from evaluators.latency.predict.predictor import Prediction, Predictor
from evaluators.latency.timing.measure import Measurement
from evaluators.precision import Precision
from nas.budget.estimate import Estimate, uncovered
from nas.budget.latency_budget import LatencyBudget, growth
from nas.records import Checked, Measured
from search_spaces.genotype import Genotype
from search_spaces.task import Task

_PRIOR_COUNT = 3  # pseudo-observations of a correction of 1
_AT_ONCE = 25  # genotypes, whose blocks' graphs evaluators.graph keeps: cost and latency are both read from them
_STEPS = 100  # corrections are rounded to 1/100, so that estimates rarely have to be recomputed


class Estimator:
    """Estimates of genotypes, each at its own input and at `precision`.

    `load_factor` converts quiet latency to the percentile under load.
    """

    def __init__(
        self, predictor: Predictor, task: Task, budget: LatencyBudget, load_factor: float, precision: Precision = "float32"
    ) -> None:
        self._predictor, self._task, self._budget, self._load_factor = predictor, task, budget, load_factor
        self._precision: Precision = precision
        self._correction = self._timing_growth = self.growth = 1.0
        self._timed: dict[str, float] = {}

    def estimate(self, genotypes: Sequence[Genotype]) -> list[Estimate]:
        """Batch estimate: predicted latency, corrected bound, measured latency if any, and cost."""
        found = list[Estimate]()
        for some in (genotypes[start : start + _AT_ONCE] for start in range(0, len(genotypes), _AT_ONCE)):
            costs = [cost(g, self._task.of(g)) for g in some]
            known = zip(some, self._predictor.covered(some, self._task), costs, strict=True)
            found += [self._estimate(p, c, self._timed.get(g.id)) for g, p, c in known]
        return found

    def _estimate(self, prediction: Prediction | None, found: Cost, timed_ms: float | None) -> Estimate:
        sizes = found.size_bytes(self._precision), found.memory_bytes(self._precision)
        if prediction is None:
            size, memory = sizes
            return replace(uncovered(found.params, found.macs), timed_ms=timed_ms, size_bytes=size, memory_bytes=memory)
        predicted_ms = prediction.ms * self._load_factor
        bound_ms = prediction.bound_ms * self._load_factor * self.growth
        latencies = predicted_ms * self._correction, timed_ms
        return Estimate(predicted_ms, bound_ms, found.params, found.macs, prediction.extrapolated, *latencies, *sizes)

    def own_bound_ms(self, genotype: Genotype) -> float | None:
        """Upper bound for the budget's percentile under typical load, uncorrected; None if the profile does not cover it."""
        [found] = self._predictor.covered([genotype], self._task)
        return None if found is None else found.bound_ms * self._load_factor

    def checked(self, genotype: Genotype, estimate: Estimate, found: Measurement) -> Checked:
        """Record of an untrained network's measurement, based on `robust_ms`, its latency on a quiet machine.

        timed_ms: upper bound of its latency under typical load, given the measurement error. score: latency over predicted
        bound. Prediction and bound are left out for a network that the device profile does not cover.
        """
        usual_ms = found.robust_ms * self._load_factor
        record = Checked(**asdict(found), timed_ms=usual_ms * (1 + self._budget.quantile * found.spread))
        own_bound_ms = self.own_bound_ms(genotype)
        if own_bound_ms is None or not estimate.covered:
            return record
        score = usual_ms / own_bound_ms
        return replace(record, predicted_ms=estimate.predicted_ms, bound_ms=estimate.bound_ms, score=score)

    def learn(self, checked: Mapping[str, Checked], over: Mapping[str, Measured]) -> bool:
        """Update corrections from measurements `checked`, and from networks finally `over` the budget; True if they changed.

        Both are records by genotype id. `growth` corrects the bound. Untrained latencies get a growth of their own: final
        latency over what had been accepted, the untrained latency or else the bound. The likely latency is the prediction
        times the median of measured over predicted.
        """
        before = self.growth, self._correction, self._timing_growth
        confidence, timed = self._budget.confidence, {i: r.timed_ms for i, r in checked.items()}
        scores = [r.score for r in checked.values()] + [r.score for r in over.values()]
        self.growth = growth([score for score in scores if score is not None], confidence)
        self._timing_growth = growth([_final_over_accepted(r, timed.get(i)) for i, r in over.items()], confidence)
        ratios = [r.robust_ms * self._load_factor / r.predicted_ms for r in checked.values() if r.predicted_ms]
        self._correction = round(statistics.median([1.0] * _PRIOR_COUNT + ratios) * _STEPS) / _STEPS
        self._timed = {i: ms * self._timing_growth for i, ms in timed.items()}
        return before != (self.growth, self._correction, self._timing_growth)


def _final_over_accepted(record: Measured, timed_ms: float | None) -> float:
    if timed_ms is not None:
        return record.as_usual_ms / timed_ms
    return 1.0 if record.score is None else record.score
