"""Predicts a kernel's latency from its size: a linear cost model times a smooth correction, one model per kernel class.

The runtime's profiler gives each kernel's time. Profiling adds the same few microseconds to every kernel, and the machine may
have been slower than when the whole network was timed. So the constant is fitted over all networks (Theil-Sen regression,
robust to outliers) and subtracted, and each network's remaining kernel times are scaled to its end-to-end latency. Networks
far off that line were profiled under load, which slows memory-bound kernels most; they are used only for classes that no other
network has.

The cost model is linear in MACs, elements moved, weights and elements written through each activation, with non-negative
slopes, fitted to relative errors. The correction is a ridge regression on log(measured / cost model), quadratic in the
logarithms of the kernel's sizes and of its network's footprint, with a constant per activation, clipped to the range seen in
training. The footprint is everything that the network's kernels read and write in a run, weights included: the more it is, the
less of a kernel's weights is still in a cache when they are needed again. On an EPYC, a linear layer of 1280 x 1000 int8
weights takes 27 microseconds in a network of .8 ms and 106 in one of 9 ms; in float32, where arithmetic takes longer, the
footprint matters less. Corrections are evaluated at LEVELS footprints and interpolated in its logarithm, so that blocks can be
cached.

Alternatives (64 networks, machine under load): extra trees and gradient boosting instead of ridge give the same error on unseen
networks (7.0 and 7.0 % against 6.9 % in one set of measurements), take twenty times as long to fit, and would need pickling.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.kernels.kernel import ACTIVATIONS, Kernel, Size, Timed

Array = NDArray[np.float64]

LEVELS = 8
"""Footprints at which kernels are evaluated."""

_LEAST = 20  # minimum number of kernels of a class for a correction
_RIDGE = 10.0
_KEPT = 0.1  # minimum share of a kernel's time that remains after subtracting the profiler's overhead
_STRANGE = 0.15  # in log space: networks this far off were profiled under load, unless most are off
_DEVIATIONS = 4.5  # times the median: three standard deviations of normal errors
_MARGIN = 1.25  # sizes beyond those seen by this factor are extrapolation
_SLACK = 0.2  # in log space: how far a correction may exceed those seen
# Milliseconds per kernel, MAC, element, weight, activated element: scales slopes to about 1.
_UNITS = np.array([1e-3, 1e-8, 1e-7, 1e-7, *[1e-7] * (len(ACTIVATIONS) - 1)])
_COUNTED = 7  # the first fields of Size are counts of elements or channels, the others settings


@dataclass(frozen=True)
class _Class:
    """The model of one kernel class."""

    slopes: Array
    lowest: Array
    highest: Array
    mean: Array
    spread: Array
    weights: Array
    limits: tuple[float, float]
    activations: frozenset[int]

    def ms(self, sizes: Array, footprints: Array) -> Array:
        """Milliseconds [levels, n] of kernels, rows of Size, in networks of each of the `footprints`.

        The correction is a quadratic polynomial in the footprint, whose coefficients are the same at every level.
        """
        physics = np.maximum(_physics(sizes) @ self.slopes, 1e-6)
        if not len(self.weights):
            return np.tile(physics, (len(footprints), 1))
        features = (np.clip(_logs(sizes, np.ones(len(sizes))), self.lowest, self.highest) - self.mean) / self.spread
        features[:, -1] = 0.0
        count = features.shape[1]
        with_last = self.weights[1 + count :][: count * (count + 1) // 2][np.triu_indices(count)[1] == count - 1]
        slopes, bend = self.weights[count] + features[:, :-1] @ with_last[:-1], with_last[-1]
        levels = (np.clip(np.log(footprints), self.lowest[-1], self.highest[-1]) - self.mean[-1]) / self.spread[-1]
        correction = _terms(features, sizes) @ self.weights + levels[:, None] * (slopes + levels[:, None] * bend)
        return np.asarray(physics * np.exp(np.clip(correction, *self.limits)))

    def beyond(self, sizes: Array) -> NDArray[np.bool_]:
        """Which kernels are larger or smaller in some dimension than all timed ones, or have settings never timed."""
        features, margin = _logs(sizes, np.ones(len(sizes)))[:, :-1], np.zeros(sizes.shape[1] - 1)
        margin[:_COUNTED] = np.log(_MARGIN)
        other = ~np.isin(sizes[:, -1], list(self.activations))
        above, below = features > self.highest[:-1] + margin, features < self.lowest[:-1] - margin
        return np.asarray(other | (above | below).any(1))


class KernelModel:
    """Fitted to timed networks: kernel times from the runtime's profiler, and end-to-end milliseconds.

    `together`: a network's milliseconds over the sum of its kernels'.
    """

    def __init__(self, networks: Sequence[Sequence[Timed]], milliseconds: Sequence[float]) -> None:
        usual: dict[str, list[tuple[Size, float, float]]] = defaultdict(list)
        strange: dict[str, list[tuple[Size, float, float]]] = defaultdict(list)
        footprints = np.array([max(1.0, footprint_of(size for _, size, _ in timed)) for timed in networks])
        constant, quiet = _profiling([[t[2] for t in timed] for timed in networks], milliseconds)
        least, most = math.log(footprints[quiet].min()), math.log(footprints[quiet].max())
        self._levels = np.linspace(least, most, LEVELS)
        for timed, total, footprint, as_usual in zip(networks, milliseconds, footprints, quiet, strict=True):
            rows = usual if as_usual else strange
            for (kind, size, _), ms in zip(timed, _anchored([t[2] for t in timed], constant, total), strict=True):
                rows[kind].append((size, footprint, float(ms)))
        self._classes = {kind: _fit(found) for kind, found in (strange | usual).items()}
        sums = [self.at([(kind, size) for kind, size, _ in timed]).sum() for timed in networks]
        self.together = math.exp(np.median(np.log(np.array(milliseconds) / sums)))

    @property
    def kinds(self) -> frozenset[str]:
        """The kernel classes that were timed."""
        return frozenset(self._classes)

    def ms(self, kernels: Sequence[tuple[str, Size]]) -> Array:
        """Milliseconds [LEVELS, n] of each kernel at each footprint; every class must be in `kinds`."""
        found = np.zeros((LEVELS, len(kernels)))
        for kind, places in _places(kind for kind, _ in kernels):
            rows = _rows([kernels[i][1] for i in places])
            found[:, places] = self._classes[kind].ms(rows, np.exp(self._levels))
        return found

    def at(self, kernels: Sequence[tuple[str, Size]]) -> Array:
        """Milliseconds of each kernel of one whole network."""
        return np.asarray(self.weights(footprint_of(size for _, size in kernels)) @ self.ms(kernels))

    def weights(self, footprint: float) -> Array:
        """The weight of each level for a network of this footprint: linear in its logarithm, constant beyond the levels."""
        levels, found = self._levels, np.zeros(LEVELS)
        step = levels[1] - levels[0]
        place = 0.0 if step <= 0 else (math.log(max(footprint, 1)) - levels[0]) / step
        below = min(max(int(place), 0), LEVELS - 2)
        above = min(max(place - below, 0.0), 1.0)
        found[below], found[below + 1] = 1 - above, above
        return found

    def beyond(self, kernels: Sequence[tuple[str, Size]]) -> NDArray[np.bool_]:
        """Which kernels have sizes outside the timed range."""
        found = np.zeros(len(kernels), dtype=bool)
        for kind, places in _places(kind for kind, _ in kernels):
            found[places] = self._classes[kind].beyond(_rows([kernels[i][1] for i in places]))
        return found


def footprint_of(sizes: Iterable[Size]) -> float:
    """Elements and weights that kernels read and write in a run."""
    return float(sum(size.read + size.written + size.weights for size in sizes))


def sizes_of(kernels: Iterable[Kernel]) -> list[tuple[str, Size]]:
    """Class and size of lowered kernels."""
    return [(kernel.kind, kernel.size) for kernel in kernels]


def _places(kinds: Iterable[str]) -> Iterable[tuple[str, list[int]]]:
    places: dict[str, list[int]] = defaultdict(list)
    for i, kind in enumerate(kinds):
        places[kind].append(i)
    return places.items()


def _profiling(times: Sequence[Sequence[float]], totals: Sequence[float]) -> tuple[float, NDArray[np.bool_]]:
    """The profiler's overhead per kernel, and which networks were profiled on a quiet machine.

    The overhead is c in total = k (sum of times - c * number of kernels), fitted to all networks, then to the inliers.
    """
    sums = np.array([sum(network) for network in times])
    ratios, counts = np.array(totals) / sums, np.array([len(network) for network in times]) / sums
    start, slope = _falling(counts, ratios)
    off = np.abs(np.log(ratios / (start + slope * counts)))
    quiet = off <= max(_STRANGE, _DEVIATIONS * float(np.median(off)))
    start, slope = _falling(counts[quiet], ratios[quiet])
    return -slope / start, quiet


def _falling(x: Array, y: Array) -> tuple[float, float]:
    """Intercept and slope of the Theil-Sen line; the slope is 0 if it would be positive."""
    from scipy.stats import theilslopes

    slope = min(0.0, float(theilslopes(y, x)[0])) if np.ptp(x) > 1e-6 * x.max() else 0.0
    return float(np.median(y - slope * x)), slope


def _anchored(times: Sequence[float], constant: float, total: float) -> Array:
    """A network's kernel times minus the profiler's overhead (keeping at least a tenth of each), scaled to sum to `total`."""
    found = np.array(times)
    left = np.maximum(found - constant, _KEPT * found)
    return np.asarray(left * (total / left.sum()))


def _fit(timed: Sequence[tuple[Size, float, float]]) -> _Class:
    """The model of a class from (size, footprint, milliseconds) of its kernels."""
    from scipy.optimize import nnls

    sizes, ms = _rows([size for size, *_ in timed]), np.array([ms for *_, ms in timed])
    slopes = nnls(_physics(sizes) / ms[:, None], np.ones(len(ms)))[0]
    features = _logs(sizes, np.array([footprint for _, footprint, _ in timed]))
    mean, spread = features.mean(0), features.std(0) + 1e-9
    weights, limits = np.zeros(0), (0.0, 0.0)
    if len(ms) >= _LEAST:
        residuals = np.log(ms / np.maximum(_physics(sizes) @ slopes, 1e-6))
        spread = np.where(features.std(0) > 1e-6, spread, np.inf)
        weights = _ridge(_terms((features - mean) / spread, sizes), residuals)
        low, high = np.percentile(residuals, [1, 99])
        limits = (float(low) - _SLACK, float(high) + _SLACK)
    activations = frozenset(int(code) for code in sizes[:, -1])
    return _Class(slopes, features.min(0), features.max(0), mean, spread, weights, limits, activations)


def _ridge(rows: Array, values: Array) -> Array:
    penalty = _RIDGE * np.eye(rows.shape[1])
    penalty[0, 0] = 0.0  # the intercept is not penalised
    return np.asarray(np.linalg.solve(rows.T @ rows + penalty, rows.T @ values), np.float64)


def _rows(sizes: Sequence[Size]) -> Array:
    return np.array(sizes, dtype=np.float64)


def _physics(sizes: Array) -> Array:
    """Features of the cost model: 1, MACs, elements moved, weights, elements written through each activation; in _UNITS."""
    plain = np.stack([np.ones(len(sizes)), sizes[:, 0], sizes[:, 1] + sizes[:, 2], sizes[:, 3]], 1)
    return np.concatenate([plain, _activated(sizes) * sizes[:, 2:3]], 1) * _UNITS


def _activated(sizes: Array) -> Array:
    """One-hot activation of each kernel, without a column for "none"."""
    return np.asarray(sizes[:, -1:] == np.arange(1, len(ACTIVATIONS)), np.float64)


def _logs(sizes: Array, footprints: Array) -> Array:
    """Every field of Size except the activation, which is categorical, and the footprint; counts in log space."""
    return np.concatenate([np.log1p(sizes[:, :_COUNTED]), sizes[:, _COUNTED:-1], np.log(footprints)[:, None]], 1)


def _terms(features: Array, sizes: Array) -> Array:
    """Features of the correction: intercept, each feature, pairwise products, activations."""
    first, second = np.triu_indices(features.shape[1])
    products = features[:, first] * features[:, second]
    return np.concatenate([np.ones((len(features), 1)), features, products, _activated(sizes)], 1)
