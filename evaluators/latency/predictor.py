"""Predictor: milliseconds of any genotype on a measured device, with an upper bound.

A block's traced graph is lowered to kernels (evaluators.latency.kernels). Time is linear in each kernel class's
count, padded MACs, elements moved and weights: a roofline whose slopes, none negative, are fitted to the end-to-end
times of the profile's fit networks. Relative errors are minimised, and the slopes are drawn towards a rough common
machine, scaled to the device's speed, as strongly as cross-validation on the fit networks allows. The verify networks
are used for nothing but `quality` and the bound: one-sided split conformal prediction (Vovk et al., "Algorithmic
Learning in a Random World", 2005).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.kernels import FEATURES, LOWERING, Layout, lower_block, total_kernels
from evaluators.latency.profile import FIT, VERIFY, MeasuredNetwork, Profile
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

Array = NDArray[np.float64]
Totals = Mapping[str, tuple[int, ...]]

_OVERHEAD = "network"  # the class of what is paid once a run
_FOLDS = 9
_STRENGTHS = tuple(float(s) for s in np.geomspace(1e-4, 1.0, 13))
_TOLERANCE = 1.1  # the strongest prior is taken whose cross-validated error is within this factor of the least

# The prior: milliseconds a kernel, a padded MAC, an element moved, a weight, on a 3 GHz core with AVX-512, from memory.
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


@dataclass(frozen=True)
class Prediction:
    """Milliseconds of one inference: expected, bounded at the predictor's confidence, and each block's share of `ms`."""

    ms: float
    bound_ms: float
    block_ms: tuple[float, ...]


class Predictor:
    """Fitted to one space's part of a profile on construction.

    Raises InputError when the space was not measured, or its verify networks are too few for a bound at `confidence`.
    """

    def __init__(self, profile: Profile, space_name: str, confidence: float = 0.95) -> None:
        self._where = f"device {profile.name}, space {space_name}"
        self._confidence = confidence
        self._calibration = profile.calibration(space_name)
        self._task = Task(self._calibration.input, 0)
        fit, self._verify = self._calibration.split(FIT), self._calibration.split(VERIFY)
        _check_enough(len(self._verify), confidence, self._where)
        totals = [self._totals(n) for n in fit]
        self._kinds = (_OVERHEAD, *sorted({kind for t in totals for kind in t} - {_OVERHEAD}))
        self._blocks: dict[tuple[Any, ...], tuple[float, tuple[int, ...], Layout]] = {}
        prior = np.concatenate([_prior(kind) for kind in self._kinds])
        self._weights = _fit(np.stack([self._row(t) for t in totals]), np.array([n.ms for n in fit]), prior)
        self._overhead = self._ms({_OVERHEAD: _ONCE})
        self._usable = tuple(n for n in self._verify if set(self._totals(n)) <= set(self._kinds))
        _check_enough(len(self._usable), confidence, self._where)
        self._ratios = np.array([n.ms / self._ms(self._totals(n)) for n in self._usable])

    def predict(self, genotype: Genotype, task: Task) -> Prediction:
        """Milliseconds of `genotype` built for `task`.

        Raises InputError for another input shape than was measured, and for an operation that no fit network had.
        """
        return self.predict_many([genotype], task)[0]

    def predict_many(self, genotypes: Sequence[Genotype], task: Task) -> list[Prediction]:
        """`predict` for many: about ten thousand a second once their blocks have been met."""
        if task.input != self._task.input:
            raise InputError(f"{self._where}: measured at input {self._task.input}, not {task.input}")
        return [self._prediction(genotype, task) for genotype in genotypes]

    @cached_property
    def quality(self) -> dict[str, float]:
        """Error on the verify networks, which neither the fit nor its choices have seen.

        rmspe and bias relative (0.1 is 10 %), within_5 and within_10 shares, spearman rank correlation, n networks,
        refused of them for an unseen operation; factor of the bound over the prediction, and its confidence.
        """
        from scipy.stats import spearmanr

        errors = 1 / self._ratios - 1
        actual = np.array([n.ms for n in self._usable])
        return {
            "n": float(len(errors)),
            "refused": float(len(self._verify) - len(errors)),
            "rmspe": float(np.sqrt(np.mean(errors**2))),
            "bias": float(np.mean(errors)),
            "within_5": float(np.mean(np.abs(errors) <= 0.05)),
            "within_10": float(np.mean(np.abs(errors) <= 0.10)),
            "spearman": float(spearmanr(actual, actual / self._ratios)[0]) if len(errors) > 1 else math.nan,
            "factor": self.factor,
            "confidence": self._confidence,
        }

    @cached_property
    def factor(self) -> float:
        """bound_ms / ms."""
        return max(1.0, conformal_factor(self._ratios, self._confidence))

    def _prediction(self, genotype: Genotype, task: Task) -> Prediction:
        times: list[float] = []
        shape: tuple[int, ...] = task.input
        layout: Layout = "plain"
        for spec in genotype.blocks:
            key = (spec, shape, task.classes, layout)
            if key not in self._blocks:
                self._blocks[key] = self._lowered(*key)
            ms, shape, layout = self._blocks[key]
            times.append(ms)
        times[0] += self._overhead
        total = sum(times)
        return Prediction(total, total * self.factor, tuple(times))

    def _lowered(self, spec: BlockSpec, shape: Any, classes: int, layout: Layout) -> tuple[float, tuple[int, ...], Layout]:
        lowered = lower_block(spec, shape, self._task.input, classes, layout)
        unseen = sorted(set(lowered.totals) - set(self._kinds))
        if unseen:
            raise InputError(
                f'block "{spec.line}" runs {", ".join(unseen)}, which no network had that {self._where} was fitted to; '
                "measure a space that has this block"
            )
        return self._ms(lowered.totals), lowered.out_shape, lowered.out_layout

    def _totals(self, network: MeasuredNetwork) -> Totals:
        """A measured network's kernels, summed by class, and what is paid once."""
        kernels = network.kernels
        if self._calibration.lowering != LOWERING:
            kernels = total_kernels(Genotype.parse(network.genotype), Task(self._task.input, network.classes))
        return {**kernels, _OVERHEAD: _ONCE}

    def _ms(self, totals: Totals) -> float:
        return float(self._row(totals) @ self._weights)

    def _row(self, totals: Totals) -> Array:
        """The features of a network or block, one per class and FEATURE, as one vector."""
        return np.concatenate([np.array(totals.get(k, _NONE), np.float64) for k in self._kinds])


def conformal_factor(ratios: Iterable[float], confidence: float) -> float:
    """The factor that measured / predicted of a new network exceeds with probability at most 1 - confidence.

    It is the ceil((n + 1) confidence)-th smallest of the n exchangeable ratios; raises InputError when n is too small.
    """
    ordered = sorted(ratios)
    _check_enough(len(ordered), confidence, "conformal bound")
    return float(ordered[_rank(len(ordered), confidence) - 1])


_NONE = (0,) * len(FEATURES)
_ONCE = tuple(int(feature == "count") for feature in FEATURES)


def _rank(n: int, confidence: float) -> int:
    return math.ceil((n + 1) * confidence - 1e-9)


def _check_enough(n: int, confidence: float, where: str) -> None:
    if _rank(n, confidence) > n:
        needed = math.ceil(confidence / (1 - confidence) - 1e-9)
        raise InputError(
            f"{where}: {n} verify networks are too few for a bound at confidence {confidence:g}, which needs {needed}; "
            "run `nas device measure` again"
        )


def _prior(kind: str) -> Array:
    """Rough milliseconds per FEATURE of a class; MACs count as padded only."""
    count = _MS_OVERHEAD if kind == _OVERHEAD else _MS_COUNT
    rough = {"count": count, "padded": _MS_MAC.get(kind, _MS_MAC_OTHER), "moved": _MS_MOVED, "weights": _MS_WEIGHT}
    return np.array([rough.get(feature, 0.0) for feature in FEATURES])


def _fit(rows: Array, measured: Array, prior: Array) -> Array:
    """Weights per feature, with the strength of the prior chosen by cross-validation."""
    folds = np.arange(len(measured)) % min(_FOLDS, len(measured))
    errors = {s: _cross_validated(rows, measured, prior, s, folds) for s in _STRENGTHS}
    strongest = max(s for s, error in errors.items() if error <= _TOLERANCE * min(errors.values()))
    return _regularised_nnls(rows, measured, prior, strongest)


def _cross_validated(rows: Array, measured: Array, prior: Array, strength: float, folds: NDArray[np.int64]) -> float:
    """Root mean square relative error out of fold."""
    errors = []
    for fold in range(int(folds.max()) + 1):
        weights = _regularised_nnls(rows[folds != fold], measured[folds != fold], prior, strength)
        errors += list(rows[folds == fold] @ weights / measured[folds == fold] - 1)
    return float(np.sqrt(np.mean(np.square(errors))))


def _regularised_nnls(rows: Array, measured: Array, prior: Array, strength: float) -> Array:
    """Weights w >= 0 that minimise sum (rows w / measured - 1)^2 + sum strength^2 (w / (s prior) - 1)^2.

    s is the device's speed: the factor that makes the prior fit best.
    """
    from scipy.optimize import nnls

    relative = rows * prior / measured[:, None]
    rough = relative.sum(1)
    scale = rough.sum() / np.square(rough).sum()
    columns = relative.shape[1]
    left = np.vstack([relative * scale, strength * np.eye(columns)])
    right = np.concatenate([np.ones(len(measured)), np.full(columns, strength)])
    return nnls(left, right)[0] * scale * prior  # type: ignore[no-any-return]
