"""Estimate: latency and size of an untrained genotype, and whether it is within the budget."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evaluators.latency.predict.predictor import MOST_EXTRAPOLATED


@dataclass(frozen=True)
class Estimate:
    """Predicted latency and its upper bound in milliseconds, trainable parameters, multiply-accumulates.

    All latencies are for the budget's percentile under typical load (nas.budget.latency_budget).
    `extrapolated`: share of the latency outside the device profile's range; 1, with infinite latencies, if an operation is
    not in the profile. `likely_ms`: the prediction, corrected by measurements of other networks. `timed_ms`: the network's
    measured latency, which replaces the bound.
    """

    predicted_ms: float
    bound_ms: float
    params: int
    macs: int
    extrapolated: float = 0.0
    likely_ms: float | None = None
    timed_ms: float | None = None

    def fits(self, budget_ms: float) -> bool:
        """Whether the measured latency, or else the bound, is within the budget; a bound needs sufficient coverage."""
        if self.timed_ms is not None:
            return self.timed_ms <= budget_ms
        return self.bound_ms <= budget_ms and self.covered

    def in_doubt(self, budget_ms: float) -> bool:
        """Whether a measurement is needed: the likely latency is within the budget, the bound is not."""
        likely_ms = self.predicted_ms if self.likely_ms is None else self.likely_ms
        return self.timed_ms is None and self.covered and likely_ms <= budget_ms < self.bound_ms

    def beyond(self, budget_ms: float) -> bool:
        """Whether a measurement is needed because the device profile does not cover the network."""
        likely = math.isinf(self.predicted_ms) or self.predicted_ms <= budget_ms
        return likely and self.timed_ms is None and not self.covered

    @property
    def covered(self) -> bool:
        return self.extrapolated <= MOST_EXTRAPOLATED

    @property
    def latency_ms(self) -> float:
        """Predicted latency, or the measured one if it cannot be predicted."""
        return self.predicted_ms if math.isfinite(self.predicted_ms) or self.timed_ms is None else self.timed_ms

    @property
    def text(self) -> str:
        return f"{self.latency_ms:6.2f} ms {'predicted' if self.latency_ms == self.predicted_ms else 'measured'}"

    def figure(self, cost: str) -> float:
        """The cost named by one of nas.pareto.COSTS."""
        return {"latency": self.latency_ms, "params": float(self.params), "macs": float(self.macs)}[cost]

    def as_json(self) -> dict[str, Any]:
        """As JSON values: floats with six significant digits, infinity as null."""
        return {k: _rounded(v) for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> "Estimate":
        ms, bound_ms = (math.inf if known[k] is None else known[k] for k in ("predicted_ms", "bound_ms"))
        others = known.get("extrapolated", 0.0), known.get("likely_ms"), known.get("timed_ms")
        return cls(ms, bound_ms, known["params"], known["macs"], *others)


def uncovered(params: int, macs: int, timed_ms: float | None = None) -> Estimate:
    """Estimate of a network with an operation that is not in the device profile."""
    return Estimate(math.inf, math.inf, params, macs, 1.0, timed_ms=timed_ms)


def _rounded(value: float | None) -> float | None:
    if value is None or isinstance(value, int):
        return value
    return None if math.isinf(value) else float(f"{value:.6g}")
