"""Estimate: latency, size and memory of an untrained genotype, and whether it is within the limits."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evaluators.latency.predict.predictor import MOST_EXTRAPOLATED
from evaluators.limits import Limits, bytes_text


@dataclass(frozen=True)
class Estimate:
    """Predicted latency and its upper bound in milliseconds, trainable parameters, multiply-accumulates.

    All latencies are for the budget's percentile under typical load (nas.budget.latency_budget).
    `extrapolated`: share of the latency outside the device profile's range; 1, with infinite latencies, if an operation is
    not in the profile. `likely_ms`: the prediction, corrected by measurements of other networks. `timed_ms`: the network's
    measured latency, which replaces the bound. `size_bytes` and `memory_bytes`: weights and peak activation memory at the
    precision of the run (evaluators.cost.Cost); 0 if unknown.
    """

    predicted_ms: float
    bound_ms: float
    params: int
    macs: int
    extrapolated: float = 0.0
    likely_ms: float | None = None
    timed_ms: float | None = None
    size_bytes: int = 0
    memory_bytes: int = 0

    def fits(self, limits: Limits) -> bool:
        """Whether size, memory, and the measured latency or else the bound are within the limits.

        A bound needs sufficient coverage by the device profile.
        """
        return self._small(limits) and self._fast(limits.latency_ms)

    def _small(self, limits: Limits) -> bool:
        return self.size_bytes <= limits.size_bytes and self.memory_bytes <= limits.memory_bytes

    def _fast(self, limit_ms: float) -> bool:
        if math.isinf(limit_ms):
            return True
        if self.timed_ms is not None:
            return self.timed_ms <= limit_ms
        return self.bound_ms <= limit_ms and self.covered

    def in_doubt(self, limits: Limits) -> bool:
        """Whether a measurement is needed: the likely latency is within the limit, the bound is not."""
        likely_ms = self.predicted_ms if self.likely_ms is None else self.likely_ms
        likely = self._small(limits) and self.timed_ms is None and self.covered
        return likely and likely_ms <= limits.latency_ms < self.bound_ms

    def beyond(self, limits: Limits) -> bool:
        """Whether a measurement is needed because the device profile does not cover the network."""
        likely = math.isinf(self.predicted_ms) or self.predicted_ms <= limits.latency_ms
        unknown = self.timed_ms is None and not self.covered and not math.isinf(limits.latency_ms)
        return likely and unknown and self._small(limits)

    def shares(self, limits: Limits) -> dict[str, float]:
        """By limit, as a share of it: measured latency or else its bound, size, memory. Those without a limit are left out."""
        latency_ms = self.bound_ms if self.timed_ms is None else self.timed_ms
        needs = {
            "latency": (latency_ms, limits.latency_ms),
            "size": (self.size_bytes, limits.size_bytes),
            "memory": (self.memory_bytes, limits.memory_bytes),
        }
        return {name: need / limit for name, (need, limit) in needs.items() if not math.isinf(limit)}

    def excess(self, limits: Limits) -> float:
        """The largest of the `shares`; 0 without limits."""
        return max(self.shares(limits).values(), default=0.0)

    def too_large(self, limits: Limits) -> str:
        """Which of size and memory is over its limit; empty if none is."""
        needs = (("weights", self.size_bytes, limits.size_bytes), ("memory", self.memory_bytes, limits.memory_bytes))
        over = (f"{name} {bytes_text(need)}, over {bytes_text(limit)}" for name, need, limit in needs if need > limit)
        return next(over, "")

    def reason(self, limits: Limits) -> str:
        """Why it does not fit; empty if only its latency bound is over the limit."""
        if large := self.too_large(limits):
            return large
        if self.timed_ms is not None:
            return "over the budget when measured"
        return "" if self.bound_ms > limits.latency_ms else "outside the device profile"

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
        bytes_ = known.get("size_bytes", 0), known.get("memory_bytes", 0)
        return cls(ms, bound_ms, known["params"], known["macs"], *others, *bytes_)


def uncovered(params: int, macs: int) -> Estimate:
    """Estimate of a network with an operation that is not in the device profile."""
    return Estimate(math.inf, math.inf, params, macs, 1.0)


def _rounded(value: float | None) -> float | None:
    if value is None or isinstance(value, int):
        return value
    return None if math.isinf(value) else float(f"{value:.6g}")
