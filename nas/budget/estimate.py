"""Estimate: what is known of a genotype before it is trained, and whether that lets it through."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evaluators.latency.predict.predictor import MOST_EXTRAPOLATED


@dataclass(frozen=True)
class Estimate:
    """Predicted latency and its upper bound in milliseconds, trainable parameters, multiply-accumulates.

    All latencies are of the promised percentile under the machine's typical load (nas.budget.latency_budget).
    `extrapolated` is the share of the latency beyond the device profile. Where the profile lacks an operation altogether it
    is 1, and both latencies are infinite. `likely_ms` is what the prediction comes to by what was timed of others (by itself
    the prediction), `timed_ms` what was measured of the network, which then counts in the bound's place.
    """

    predicted_ms: float
    bound_ms: float
    params: int
    macs: int
    extrapolated: float = 0.0
    likely_ms: float | None = None
    timed_ms: float | None = None

    def fits(self, budget_ms: float) -> bool:
        """Whether its time, or else its bound, holds the budget; a bound only if the profile covers enough of the network."""
        if self.timed_ms is not None:
            return self.timed_ms <= budget_ms
        return self.bound_ms <= budget_ms and self.covered

    def in_doubt(self, budget_ms: float) -> bool:
        """Whether it likely holds the budget although its bound does not, which timing it would settle."""
        likely_ms = self.predicted_ms if self.likely_ms is None else self.likely_ms
        return self.timed_ms is None and self.covered and likely_ms <= budget_ms < self.bound_ms

    def beyond(self, budget_ms: float) -> bool:
        """Whether the device profile says too little of it, and timing it would settle whether it holds the budget."""
        likely = math.isinf(self.predicted_ms) or self.predicted_ms <= budget_ms
        return likely and self.timed_ms is None and not self.covered

    @property
    def covered(self) -> bool:
        return self.extrapolated <= MOST_EXTRAPOLATED

    @property
    def latency_ms(self) -> float:
        """As predicted, or as it was timed where it cannot be predicted."""
        return self.predicted_ms if math.isfinite(self.predicted_ms) or self.timed_ms is None else self.timed_ms

    @property
    def text(self) -> str:
        return f"{self.latency_ms:6.2f} ms {'predicted' if self.latency_ms == self.predicted_ms else 'timed'}"

    def figure(self, cost: str) -> float:
        """The figure that one of nas.pareto.COSTS names."""
        return {"latency": self.latency_ms, "params": float(self.params), "macs": float(self.macs)}[cost]

    def as_json(self) -> dict[str, Any]:
        """Six digits are kept of numbers with a fraction; infinite ones are null."""
        return {k: _rounded(v) for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> "Estimate":
        ms, bound_ms = (math.inf if known[k] is None else known[k] for k in ("predicted_ms", "bound_ms"))
        others = known.get("extrapolated", 0.0), known.get("likely_ms"), known.get("timed_ms")
        return cls(ms, bound_ms, known["params"], known["macs"], *others)


def uncovered(params: int, macs: int, timed_ms: float | None = None) -> Estimate:
    """The estimate of a network with an operation that the device profile lacks."""
    return Estimate(math.inf, math.inf, params, macs, 1.0, timed_ms=timed_ms)


def _rounded(value: float | None) -> float | None:
    if value is None or isinstance(value, int):
        return value
    return None if math.isinf(value) else float(f"{value:.6g}")
