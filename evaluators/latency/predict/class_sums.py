"""Predicts a network's latency from its kernels summed by class: a roofline model that needs end-to-end times only.

The model is linear in the FEATURES of each class, with non-negative slopes. The fit minimises relative errors and shrinks the
slopes towards a generic machine, scaled to the device's speed, as strongly as cross-validation allows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.kernels.lowering import FEATURES

Array = NDArray[np.float64]
Totals = Mapping[str, tuple[int, ...]]  # rows of FEATURES by class

OVERHEAD = "network"  # the class of the fixed cost per run
ONCE = tuple(int(feature == "count") for feature in FEATURES)
_NONE = (0,) * len(FEATURES)
_FOLDS = 9
_STRENGTHS = tuple(float(s) for s in np.geomspace(1e-4, 1.0, 13))
TOLERANCE = 1.1  # take the strongest prior, and the first choice, whose error is within this factor of the lowest

# The prior: milliseconds per kernel, padded MAC, element moved and weight; rough values for a 3 GHz core with AVX-512.
_MS_COUNT, _MS_MOVED, _MS_WEIGHT, _MS_OVERHEAD = 3e-3, 2e-7, 1e-7, 2e-2
_MS_MAC = {
    "depthwise": 6e-8,
    "depthwise_dilated": 8e-8,
    "conv_plain": 1e-7,
    "conv_stem": 3e-8,
    "linear": 3e-8,
    "pointwise_vector": 5e-8,
}
_MS_MAC_OTHER = 1.2e-8


class ClassSums:
    """Fitted to networks' class sums and milliseconds; `strength` of the prior is chosen by cross-validation if None."""

    def __init__(self, totals: Sequence[Totals], milliseconds: Sequence[float], strength: float | None = None) -> None:
        self.kinds = (OVERHEAD, *sorted({kind for t in totals for kind in t} - {OVERHEAD}))
        rows, ms = np.stack([self._row(t) for t in totals]), np.array(milliseconds)
        prior = np.concatenate([_prior(kind) for kind in self.kinds])
        self.strength = _strength(rows, ms, prior) if strength is None else strength
        self._weights = _regularised_nnls(rows, ms, prior, self.strength)
        self.overhead = self.ms({OVERHEAD: ONCE})

    def ms(self, totals: Totals) -> float:
        """Milliseconds of a network, a block or a class."""
        return float(self._row(totals) @ self._weights)

    def _row(self, totals: Totals) -> Array:
        """The features of a network or block as a vector: one entry per class and FEATURE."""
        return np.concatenate([np.array(totals.get(k, _NONE), np.float64) for k in self.kinds])


def _prior(kind: str) -> Array:
    """Rough milliseconds per FEATURE of a class; only padded MACs count."""
    count = _MS_OVERHEAD if kind == OVERHEAD else _MS_COUNT
    rough = {"count": count, "padded": _MS_MAC.get(kind, _MS_MAC_OTHER), "moved": _MS_MOVED, "weights": _MS_WEIGHT}
    return np.array([rough.get(feature, 0.0) for feature in FEATURES])


def _strength(rows: Array, measured: Array, prior: Array) -> float:
    """The strongest prior whose cross-validated error is within TOLERANCE of the best."""
    folds = np.arange(len(measured)) % min(_FOLDS, len(measured))
    errors = {s: _cross_validated(rows, measured, prior, s, folds) for s in _STRENGTHS}
    return max(s for s, error in errors.items() if error <= TOLERANCE * min(errors.values()))


def _cross_validated(rows: Array, measured: Array, prior: Array, strength: float, folds: NDArray[np.int64]) -> float:
    """Root mean square relative error over held-out folds."""
    errors = []
    for fold in range(int(folds.max()) + 1):
        weights = _regularised_nnls(rows[folds != fold], measured[folds != fold], prior, strength)
        errors += list(rows[folds == fold] @ weights / measured[folds == fold] - 1)
    return float(np.sqrt(np.mean(np.square(errors))))


def _regularised_nnls(rows: Array, measured: Array, prior: Array, strength: float) -> Array:
    """Weights w >= 0 that minimise sum (rows w / measured - 1)^2 + sum strength^2 (w / (s prior) - 1)^2.

    s is the device's speed: the factor by which the prior fits best.
    """
    from scipy.optimize import nnls

    relative = rows * prior / measured[:, None]
    rough = relative.sum(1)
    scale = rough.sum() / np.square(rough).sum()
    columns = relative.shape[1]
    left = np.vstack([relative * scale, strength * np.eye(columns)])
    right = np.concatenate([np.ones(len(measured)), np.full(columns, strength)])
    return nnls(left, right)[0] * scale * prior  # type: ignore[no-any-return]
