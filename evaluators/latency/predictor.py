"""Predictor: milliseconds of any genotype on a measured device, with an upper bound.

A block's traced graph is lowered to kernels (evaluators.latency.kernels). Time is linear in each kernel class's count, MACs,
padded MACs, elements moved and weights, no weight negative: a roofline whose slopes are fitted to the end-to-end times of the
profile's fit networks, relative errors minimised. A Gaussian process on the logarithm of measured / linear corrects it where
cross-validation on the fit networks says that it helps. The verify networks are used for nothing but `quality` and the bound:
one-sided split conformal prediction (Vovk et al., "Algorithmic Learning in a Random World", 2005).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.kernels import FEATURES, Layout, Lowered, lower_block
from evaluators.latency.profile import FIT, VERIFY, MeasuredNetwork, Profile
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Task

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

Array = NDArray[np.float64]
Totals = Mapping[str, tuple[float, ...]]

_OVERHEAD = "network"  # the class of what is paid once a run
_UNITS = (1e-3, 1e-8, 1e-8, 1e-6, 1e-6)  # so that a column's weight is of the order of milliseconds
_FOLDS = 9
_CLIP = 0.2
_GAIN = 0.97  # the correction must lower the cross-validated error to this share


@dataclass(frozen=True)
class Prediction:
    """Milliseconds of one inference: expected, upper bound at the predictor's confidence, and each block's share of `ms`."""

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
        self._task = Task(profile.calibration(space_name).input, 0)
        calibration = profile.calibration(space_name)
        fit, self._verify = calibration.split(FIT), calibration.split(VERIFY)
        _check_enough(len(self._verify), confidence, self._where)
        totals = [_totals(n, self._task) for n in fit]
        self._kinds = (_OVERHEAD, *sorted({kind for t in totals for kind in t} - {_OVERHEAD}))
        self._blocks: dict[tuple[Any, ...], tuple[Array, tuple[int, ...], Layout]] = {}
        rows = np.stack([self._row(t) for t in totals])
        measured = np.array([n.ms for n in fit])
        self._weights = _relative_nnls(rows, measured)
        self._residual = _residual(rows, measured, self._by_kind)
        self._ratios = self._verify_ratios()

    def predict(self, genotype: Genotype, task: Task) -> Prediction:
        """Milliseconds of `genotype` built for `task`.

        Raises InputError for another input shape than was measured, and for an operation that no fit network had.
        """
        return self.predict_many([genotype], task)[0]

    def predict_many(self, genotypes: Sequence[Genotype], task: Task) -> list[Prediction]:
        """`predict` for many: about ten thousand a second once their blocks have been met."""
        if task.input != self._task.input:
            raise InputError(f"{self._where}: measured at input {self._task.input}, not {task.input}")
        if not genotypes:
            return []
        blocks = [self._block_rows(genotype, task) for genotype in genotypes]
        kinds = np.stack([np.sum(rows, axis=0) for rows in blocks])
        factors = self._factors(kinds)
        return [self._prediction(rows, float(f)) for rows, f in zip(blocks, factors, strict=True)]

    @cached_property
    def quality(self) -> dict[str, float]:
        """Error on the verify networks, which neither the fit nor its choices have seen.

        rmspe and bias relative (0.1 is 10 %), within_5 and within_10 shares, spearman rank correlation, n networks, refused
        of them for an unseen operation; factor of the bound over the prediction, and its confidence.
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

    # --- the model --------------------------------------------------------------------------------------------------------

    def _row(self, totals: Totals) -> Array:
        """The features of a network or block, one per class and FEATURE, as one vector."""
        return np.concatenate([np.multiply(totals.get(k, (0.0,) * len(FEATURES)), _UNITS) for k in self._kinds])

    def _by_kind(self, rows: Array, weights: Array) -> Array:
        """Linear milliseconds by class of kernel: [..., classes]."""
        return (rows * weights).reshape(*rows.shape[:-1], len(self._kinds), len(FEATURES)).sum(-1)  # type: ignore[no-any-return]

    def _factors(self, kinds: Array) -> Array:
        """The correction of each network, from its linear milliseconds by class."""
        if self._residual is None:
            return np.ones(len(kinds))
        return np.exp(np.clip(self._residual.predict(_descriptors(kinds)), -_CLIP, _CLIP))  # type: ignore[no-any-return]

    def _block_rows(self, genotype: Genotype, task: Task) -> list[Array]:
        """Linear milliseconds by class of every block, the overhead on the first."""
        found: list[Array] = []
        shape: tuple[int, ...] = task.input
        layout: Layout = "plain"
        for spec in genotype.blocks:
            key = (spec, shape, task.classes, layout)
            if key not in self._blocks:
                self._blocks[key] = self._lowered(*key)
            row, shape, layout = self._blocks[key]
            found.append(row)
        overhead = self._by_kind(self._row({_OVERHEAD: _ONCE}), self._weights)
        return [found[0] + overhead, *found[1:]]

    def _lowered(self, spec: BlockSpec, shape: Any, classes: int, layout: Layout) -> tuple[Array, tuple[int, ...], Layout]:
        lowered: Lowered = lower_block(spec, shape, self._task.input, classes, layout)
        unseen = sorted(set(lowered.totals) - set(self._kinds))
        if unseen:
            raise InputError(
                f'block "{spec.text}" runs {", ".join(unseen)}, which no network had that {self._where} was fitted to; '
                "measure a space that has this block"
            )
        return self._by_kind(self._row(lowered.totals), self._weights), lowered.out_shape, lowered.out_layout

    def _prediction(self, rows: list[Array], factor: float) -> Prediction:
        block_ms = tuple(float(row.sum()) * factor for row in rows)
        ms = sum(block_ms)
        return Prediction(ms, ms * self.factor, block_ms)

    def _verify_ratios(self) -> Array:
        """Measured over predicted for the verify networks."""
        self._usable, predicted = [], []
        for network in self._verify:
            totals = _totals(network, self._task)
            if set(totals) <= set(self._kinds):
                kinds = self._by_kind(self._row(totals), self._weights)[None]
                self._usable.append(network)
                predicted.append(float(kinds.sum() * self._factors(kinds)[0]))
        _check_enough(len(predicted), self._confidence, self._where)
        return np.array([n.ms for n in self._usable]) / np.array(predicted)


def conformal_factor(ratios: Iterable[float], confidence: float) -> float:
    """The factor that measured / predicted of a new network exceeds with probability at most 1 - confidence.

    It is the ceil((n + 1) confidence)-th smallest of the n exchangeable ratios; raises InputError when n is too small.
    """
    ordered = sorted(ratios)
    _check_enough(len(ordered), confidence, "conformal bound")
    return float(ordered[_rank(len(ordered), confidence) - 1])


_ONCE = (1.0, 0.0, 0.0, 0.0, 0.0)


def _rank(n: int, confidence: float) -> int:
    return math.ceil((n + 1) * confidence - 1e-9)


def _check_enough(n: int, confidence: float, where: str) -> None:
    if _rank(n, confidence) > n:
        needed = math.ceil(confidence / (1 - confidence) - 1e-9)
        raise InputError(
            f"{where}: {n} verify networks are too few for a bound at confidence {confidence:g}, which needs {needed}; "
            "run `nas device measure` again"
        )


def _totals(network: MeasuredNetwork, task: Task) -> Totals:
    """A measured network's kernels, summed by class, with its overhead."""
    return {k: tuple(v) for k, v in network.kernels.items()} | {_OVERHEAD: _ONCE}


def _relative_nnls(rows: Array, measured: Array) -> Array:
    """Weights >= 0 that minimise the sum of (predicted / measured - 1)^2."""
    from scipy.optimize import nnls

    return nnls(rows / measured[:, None], np.ones(len(measured)))[0]  # type: ignore[no-any-return]


def _descriptors(kinds: Array) -> Array:
    """What the correction may depend on: each class's share of the time, and the logarithm of the time."""
    total = kinds.sum(-1, keepdims=True)
    return np.concatenate([kinds / total, np.log(total)], axis=-1)


def _residual(rows: Array, measured: Array, by_kind: Any) -> "GaussianProcessRegressor | None":
    """The correction fitted to out-of-fold errors of the linear model, or None where it does not help."""
    if len(measured) < 2 * _FOLDS:
        return None
    folds = np.arange(len(measured)) % _FOLDS
    descriptors, target = np.zeros(0), np.zeros(len(measured))
    parts: list[Array] = []
    for fold in range(_FOLDS):
        weights = _relative_nnls(rows[folds != fold], measured[folds != fold])
        parts.append(by_kind(rows[folds == fold], weights))
        target[folds == fold] = np.log(measured[folds == fold] / np.maximum(parts[-1].sum(-1), 1e-9))
    descriptors = np.zeros((len(measured), parts[0].shape[-1] + 1))
    for fold in range(_FOLDS):
        descriptors[folds == fold] = _descriptors(parts[fold])
    corrected = np.zeros_like(target)
    for fold in range(_FOLDS):
        model = _gaussian_process().fit(descriptors[folds != fold], target[folds != fold])
        corrected[folds == fold] = target[folds == fold] - np.clip(model.predict(descriptors[folds == fold]), -_CLIP, _CLIP)
    if np.sqrt(np.mean(corrected**2)) > _GAIN * np.sqrt(np.mean(target**2)):
        return None
    return _gaussian_process().fit(descriptors, target)


def _gaussian_process() -> "GaussianProcessRegressor":
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    return GaussianProcessRegressor(0.01 * RBF(1.0, "fixed") + WhiteKernel(0.0025, "fixed"), optimizer=None)
