"""Gaussian process regression over several views of an item (figures, composition, genes), for few observations.

The covariance is the sum of a Matern-5/2 kernel per view, plus noise (Rasmussen and Williams, "Gaussian Processes for Machine
Learning", 2006, chapters 2 and 5). The hyperparameters, a variance and a length scale per view and the noise variance,
maximise the marginal likelihood times a weak prior. An item with an unknown view has no covariance through that view.
"""

import random
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

_MOST_FITTED = 100  # maximum observations for fitting hyperparameters; predictions use all
_AT_ONCE = 256  # items per batch, so that matrices stay in the CPU cache
_FAR = 1e3  # distance to an item whose view is unknown: no covariance
# prior means for targets of variance 1 and mean distance 1: log of total variance, length scale, noise variance
_VARIANCE, _LENGTH, _NOISE = np.log([1.0, 1.0, 0.1])
_TAILS = 2.0  # factor that widens Laplace's approximation when hyperparameters are drawn
_PLAUSIBLE = 8  # limit of hyperparameters, in standard deviations of the prior
_PRIOR_STD = {"variance": 1.0, "length": 0.7, "noise": 1.0}

# a matrix [n, columns] per view of n items; NaN rows are unknown, missing columns at the end are 0
Views = tuple[Array, ...]


class GaussianProcess:
    """Fitted to `targets` [n] of `items`, unless `log_parameters` (variance and length per view; noise) is given.

    `errors` [n] are additional standard deviations of individual targets, `distances` those between the items per view, if they
    are known. `levels` [n] are the posterior means of the noise-free targets.
    """

    def __init__(
        self,
        items: Views,
        targets: Array,
        log_parameters: Array | None = None,
        errors: Array | None = None,
        *,
        distances: Sequence[Array] | None = None,
    ) -> None:
        self._items, self._targets = items, targets
        self._errors = np.zeros(len(targets)) if errors is None else errors
        self._mean, self._scale = float(np.mean(targets)), float(np.std(targets)) or 1.0
        self._observed = _Observed(
            _distances(items, items, same=True) if distances is None else distances,
            (targets - self._mean) / self._scale,
            (self._errors / self._scale) ** 2,
        )
        self._condition(_fitted(self._observed.thinned()) if log_parameters is None else log_parameters)

    def _condition(self, log_parameters: Array) -> None:
        self.log_parameters = log_parameters
        noise = _noise(log_parameters) + self._observed.doubt
        covariance = _covariance(self._observed.distances, log_parameters)
        covariance.flat[:: len(covariance) + 1] += noise
        self._factor = cho_factor(covariance, lower=True, overwrite_a=True)
        self._weights = cho_solve(self._factor, self._observed.targets)
        self.levels = self._mean + self._scale * (self._observed.targets - noise * self._weights)

    def likely(self, count: int, rng: random.Random) -> list["GaussianProcess"]:
        """Copies with `count` draws of the hyperparameters from Laplace's approximation around the fit.

        The precision is the prior's plus the Fisher information (Rasmussen and Williams, 5.4). Draws are widened, which
        improves searches (benchmarks/search.md).
        """
        precision = _precision(self.log_parameters, self._observed.thinned())
        root = _TAILS * np.linalg.inv(np.linalg.cholesky(precision)).T
        return [self._with_parameters(self.log_parameters + root @ [rng.gauss(0, 1) for _ in root]) for _ in range(count)]

    def _with_parameters(self, log_parameters: Array) -> "GaussianProcess":
        process = copy(self)
        process._condition(log_parameters)
        return process

    def predict(self, items: Views) -> tuple[Array, Array]:
        """Posterior mean and standard deviation [m] of the noise-free targets."""
        [mean], [deviation] = predicted([self], items)
        return mean, deviation

    def _predict(self, distances: Sequence[Array]) -> tuple[Array, Array]:
        cross = _covariance(distances, self.log_parameters)
        reduced = solve_triangular(self._factor[0], cross.T, lower=True, check_finite=False)
        prior = np.exp(self.log_parameters[:-1:2]).sum()
        variance = np.maximum(prior - np.einsum("ij,ij->j", reduced, reduced), 1e-12)
        return self._mean + self._scale * (cross @ self._weights), self._scale * np.sqrt(variance)

    def given(self, items: Views, targets: Array) -> "GaussianProcess":
        """Copy with additional observations and the same hyperparameters."""
        return conditioned([self], items, [targets])[0]


def conditioned(processes: Sequence[GaussianProcess], items: Views, targets: Sequence[Array] | Array) -> list[GaussianProcess]:
    """Copies of k processes with the same items, given `items` and each its own `targets` [k, m] as further observations."""
    both = tuple(np.vstack(pair) for pair in zip(processes[0]._items, items, strict=True))
    distances = _distances(both, both, same=True)
    found = []
    for process, more in zip(processes, targets, strict=True):
        known = np.concatenate([process._targets, more]), np.concatenate([process._errors, np.zeros(len(more))])
        found.append(GaussianProcess(both, known[0], process.log_parameters, known[1], distances=distances))
    return found


def predicted(processes: Sequence[GaussianProcess], items: Views) -> tuple[Array, Array]:
    """Posterior means and standard deviations [k, m] of k processes with the same items."""
    means, deviations = np.empty((2, len(processes), len(items[0])))
    for start in range(0, len(items[0]), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        distances = _distances(tuple(view[part] for view in items), processes[0]._items)
        for i, process in enumerate(processes):
            means[i, part], deviations[i, part] = process._predict(distances)
    return means, deviations


@dataclass(frozen=True)
class _Observed:
    """Distances [n, n] per view, standardised targets [n], and variances [n] of individual errors."""

    distances: Sequence[Array]
    targets: Array
    doubt: Array

    def thinned(self) -> "_Observed":
        """At most _MOST_FITTED observations: half of them the best, the others evenly spaced by rank."""
        if len(self.targets) <= _MOST_FITTED:
            return self
        order = np.argsort(-self.targets, kind="stable")
        best, rest = order[: _MOST_FITTED // 2], order[_MOST_FITTED // 2 :]
        others = rest[np.linspace(0, len(rest) - 1, _MOST_FITTED - len(best)).astype(np.int64)]
        rows = np.concatenate([best, others])
        return _Observed([d[np.ix_(rows, rows)] for d in self.distances], self.targets[rows], self.doubt[rows])


def _fitted(observed: _Observed) -> Array:
    start, _ = _prior(len(observed.distances))
    found = minimize(_loss, start, args=(observed,), jac=True, method="L-BFGS-B", options={"maxiter": 20, "maxfun": 30})
    return np.asarray(found.x)


def _prior(views: int) -> tuple[Array, Array]:
    """Prior means and standard deviations of the log hyperparameters."""
    means = [_VARIANCE - np.log(views), _LENGTH] * views + [_NOISE]
    spreads = [_PRIOR_STD["variance"], _PRIOR_STD["length"]] * views + [_PRIOR_STD["noise"]]
    return np.array(means), np.array(spreads)


def _loss(logs: Array, observed: _Observed) -> tuple[float, Array]:
    """Negative log posterior of the hyperparameters, and its gradient.

    Outside the plausible range only the prior changes, which leads a line search back.
    """
    n, targets = len(observed.targets), observed.targets
    mean, spread = _prior(len(observed.distances))
    away = (logs - mean) / spread
    logs = mean + spread * np.clip(away, -_PLAUSIBLE, _PLAUSIBLE)
    covariance, slopes = _covariance_and_slopes(logs, observed)
    factor = cho_factor(covariance, lower=True, check_finite=False)
    inverse = cho_solve(factor, np.eye(n), check_finite=False)
    weights = inverse @ targets
    outer = inverse - np.outer(weights, weights)
    gradient = np.array([0.5 * np.vdot(outer, slope) for slope in slopes]) * (np.abs(away) <= _PLAUSIBLE)
    loss = 0.5 * targets @ weights + np.sum(np.log(np.diag(factor[0]))) + 0.5 * away @ away
    return float(loss), gradient + away / spread


def _precision(logs: Array, observed: _Observed) -> Array:
    """Precision matrix of Laplace's approximation of the hyperparameters' posterior at `logs`."""
    covariance, slopes = _covariance_and_slopes(logs, observed)
    inverse = cho_solve(cho_factor(covariance, lower=True, check_finite=False), np.eye(len(covariance)), check_finite=False)
    changes = [inverse @ slope for slope in slopes]
    information = np.array([[0.5 * np.vdot(a, b.T) for b in changes] for a in changes])
    _, spread = _prior(len(observed.distances))
    return np.asarray(information + np.diag(spread**-2))


def _covariance_and_slopes(logs: Array, observed: _Observed) -> tuple[Array, list[Array]]:
    """Covariance of the observations, with noise, and its derivatives with respect to the log hyperparameters."""
    noise = _noise(logs) * np.eye(len(observed.targets))
    parts = [_matern_and_slope(d / np.exp(logs[2 * i + 1])) for i, d in enumerate(observed.distances)]
    slopes = [np.exp(logs[2 * i]) * part for i, pair in enumerate(parts) for part in pair]
    return np.asarray(sum(slopes[::2], noise + np.diag(observed.doubt))), [*slopes, noise]


def _covariance(distances: Sequence[Array], logs: Array) -> Array:
    total = np.zeros_like(distances[0])
    for i, d in enumerate(distances):
        part = _matern(d / np.exp(logs[2 * i + 1]))
        part *= np.exp(logs[2 * i])
        total += part
    return total


def _matern(r: Array) -> Array:
    """Matern-5/2 correlation at scaled distances."""
    s = np.sqrt(5.0) * r
    found = s * (1 / 3)  # in place from here on: these matrices dominate the time of a proposal
    found += 1
    found *= s
    found += 1
    np.negative(s, out=s)
    found *= np.exp(s, out=s)
    return found


def _matern_and_slope(r: Array) -> tuple[Array, Array]:
    """Matern-5/2 correlation, and its derivative with respect to the log length scale."""
    s = np.sqrt(5.0) * r
    decay, third = np.exp(-s), s * s / 3
    return np.asarray((1 + s + third) * decay), np.asarray(third * (1 + s) * decay)


def _noise(logs: Array) -> float:
    """Noise variance, with a lower limit relative to the others for a stable factorisation."""
    return float(np.exp(logs[-1]) + 1e-6 + 1e-10 * np.exp(logs[:-1:2]).sum())


def _distances(first: Views, second: Views, same: bool = False) -> list[Array]:
    """Euclidean distances [n, m] per view; with `same` the diagonal is 0 even if a view is unknown."""
    found = []
    for a, b in zip(first, second, strict=True):
        (known_a, unknown_a), (known_b, unknown_b) = _split_unknown(a), _split_unknown(b)
        distances = _euclidean(known_a, known_b)
        distances[unknown_a] = _FAR
        distances[:, unknown_b] = _FAR
        if same:
            np.fill_diagonal(distances, 0.0)
        found.append(distances)
    return found


def _split_unknown(view: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The view with unknown rows set to zero, and a mask of these."""
    unknown = np.isnan(view[:, 0])
    return (np.where(unknown[:, None], 0.0, view) if unknown.any() else view), unknown


def _euclidean(a: Array, b: Array) -> Array:
    columns = min(a.shape[1], b.shape[1])
    squares = (-2 * a[:, :columns]) @ b[:, :columns].T
    squares += np.sum(a**2, axis=1)[:, None]
    squares += np.sum(b**2, axis=1)[None, :]
    np.maximum(squares, 0.0, out=squares)
    return np.asarray(np.sqrt(squares, out=squares))
