"""Predictor: milliseconds of any genotype on a measured device, with an upper bound.

A block's traced graph is lowered to the kernels that the runtime runs (evaluators.latency.kernels). Two estimators work on
them. One sums a model of single kernels (kernel_model.py), where the runtime tells kernels' times, and runs the kernels that
the lowering says: on another processor ONNX Runtime optimises otherwise.
The other needs end-to-end times only: it is linear in each kernel class's count, padded MACs, elements moved and weights, a
roofline whose slopes, none negative, are fitted to the profile's fit networks; relative errors are minimised, and the slopes
are drawn towards a rough common machine, scaled to the device's speed, as strongly as cross-validation on the fit networks
allows. The verify networks choose between the two and their mean: the model of kernels, plain before bent, as it is better on
networks unlike those measured, unless another is clearly better here. They also give `quality`.

The bound is one-sided conformal prediction, its scores those of the verify networks and, out of fold, of the fit networks
(Vovk, "Cross-conformal predictors", 2015; CV+ of Barber et al., arXiv:1905.02928): with the two dozen verify networks alone
it is the largest of their scores, which another draw of networks would put far off.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.device.profile import FIT, VERIFY, Calibration, MeasuredNetwork, Profile
from evaluators.latency.kernels.kernel import Layout, Size
from evaluators.latency.kernels.lowering import FEATURES, LOWERING, Lowered, lower_block, lowered_blocks, total_kernels
from evaluators.latency.predict.kernel_model import KernelModel, sizes_of
from evaluators.latency.predict.older_profiles import relowered
from evaluators.latency.runtime import load_runtime
from evaluators.latency.timing.measure import slowdown
from search_spaces.errors import InputError
from search_spaces.genotype import BlockSpec, Genotype
from search_spaces.task import Input, Task, input_text

Array = NDArray[np.float64]
Totals = Mapping[str, tuple[int, ...]]

MOST_EXTRAPOLATED = 0.1
_FIRST_LAYOUT: Layout = "plain"  # of the picture
_OVERHEAD = "network"  # the class of what is paid once a run
_FOLDS = 9
_BOUND_FOLDS = 6
_MOST_STRANGE = 0.02  # of the lowered kernels may be of classes that the runtime does not have
_STRENGTHS = tuple(float(s) for s in np.geomspace(1e-4, 1.0, 13))
_TOLERANCE = 1.1  # the strongest prior, and the first choice, is taken whose error is within this factor of the least

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
    """Milliseconds of one inference on a quiet machine: expected, bounded at the confidence, and each block's share of `ms`.

    extrapolated: the share of `ms` in kernels larger, smaller or set otherwise than any that was timed; it widens the bound
    by as much, and beyond MOST_EXTRAPOLATED the prediction is no constraint to rely on.
    """

    ms: float
    bound_ms: float
    block_ms: tuple[float, ...]
    extrapolated: float = 0.0

    @property
    def reliable(self) -> bool:
        return self.extrapolated <= MOST_EXTRAPOLATED


class UncoveredError(InputError):
    """A network has an operation that no network had which the predictor was fitted to."""


class _Choice(NamedTuple):
    """The share of the kernel model in the prediction, the class sums have the rest, and whether its sum is bent."""

    share: float
    bent: bool


# The verify networks choose, the first that does.
_CHOICES = (_Choice(0.9, False), _Choice(0.9, True), _Choice(0.5, False), _Choice(0.5, True), _Choice(0.0, False))


class _Block(NamedTuple):
    """Milliseconds of a block by the model of kernels, those of them in kernels beyond the timed ones, and by class sums; the
    shape and layout of what it hands on.
    """

    by_kernel: float
    extrapolated: float
    sums: float
    out_shape: tuple[int, ...]
    out_layout: Layout


_Key = tuple[BlockSpec, tuple[int, ...], Input, int, Layout]  # block, its input, the network's, classes, layout


class Predictor:
    """Fitted on construction to a profile's calibration for one space; predicts the machine at its quietest.

    At its usual speed, that in the median over the calibration's networks, all takes `usual_slowdown` times as long.
    Raises InputError when its verify networks are too few for a bound at `confidence`.
    """

    def __init__(self, profile: Profile, calibration: Calibration, confidence: float = 0.95) -> None:
        self._where = f"device {profile.name}, space {calibration.space}"
        self._confidence = confidence
        self._calibration = calibration
        self.usual_slowdown = slowdown(calibration.contention)
        self._graph = load_runtime(profile.device.runtime).GRAPH
        self._fit, self._verify = self._measured(FIT), self._measured(VERIFY)
        _check_enough(len(self._verify), confidence, self._where)
        if len(self._fit) < _BOUND_FOLDS:
            few = f"{len(self._fit)} networks are too few to fit to, of which {_BOUND_FOLDS} are needed"
            raise InputError(f"{self._where}: {few}; run `nas device measure` again")
        self._models = _Models(self._fit, timed=_told((*self._fit, *self._verify)))
        self._blocks: dict[_Key, _Block] = {}
        self._usable = tuple(n for n in self._verify if self._models.cover(n))
        _check_enough(len(self._usable), confidence, self._where)
        self._choice, self._ratios = self._chosen()

    def _measured(self, split: str) -> tuple[MeasuredNetwork, ...]:
        networks = self._calibration.split(split)
        if self._calibration.lowering == LOWERING:
            return networks
        return tuple(relowered(network, self._graph) for network in networks)

    def _chosen(self) -> tuple[_Choice, Array]:
        """The choice that suits the verify networks, and measured / predicted of them with it."""
        ratios = {
            choice: np.array([n.ms / self._models.of_measured(n, choice) for n in self._usable])
            for choice in (_CHOICES if self._models.kernels else _CHOICES[-1:])
        }
        errors = {choice: float(np.sqrt(np.mean((1 / found - 1) ** 2))) for choice, found in ratios.items()}
        chosen = next(choice for choice, error in errors.items() if error <= _TOLERANCE * min(errors.values()))
        return chosen, ratios[chosen]

    def of_measured(self, network: MeasuredNetwork) -> float:
        """What is predicted for a measured network, from its stored kernels: nothing is traced again."""
        return self._models.of_measured(network, self._choice)

    def predict(self, genotype: Genotype, task: Task) -> Prediction:
        """Milliseconds of `genotype` built for `task`, at its own input where it names one.

        Raises InputError for an input that the space was not measured at, and for an operation that no fit network had.
        """
        return self.predict_many([genotype], task)[0]

    def predict_many(self, genotypes: Sequence[Genotype], task: Task) -> list[Prediction]:
        """`predict` for many: more than ten thousand a second once their blocks have been met (benchmarks/cost.py)."""
        for input in {task.of(genotype).input for genotype in genotypes}.difference(self._calibration.inputs):
            measured = ", ".join(map(input_text, self._calibration.inputs))
            raise InputError(f"{self._where}: measured at input {measured}, not {input_text(input)}")
        return [
            Prediction(ms, ms * self.factor * (1 + beyond), blocks, beyond)
            for ms, beyond, blocks in self._predicted(genotypes, task)
        ]

    def covered(self, genotypes: Sequence[Genotype], task: Task) -> list[Prediction | None]:
        """`predict_many`, with None for a genotype that has an operation which no fit network had."""
        try:
            return list(self.predict_many(genotypes, task))
        except UncoveredError:
            if len(genotypes) == 1:
                return [None]
            half = len(genotypes) // 2
            return self.covered(genotypes[:half], task) + self.covered(genotypes[half:], task)

    def class_ms(self, genotype: Genotype, task: Task) -> dict[str, float]:
        """Predicted milliseconds by kernel class, the slowest first, and what is paid once a run as `network`."""
        self.predict(genotype, task)  # refuses what the profile does not cover
        task = task.of(genotype)
        totals = {**total_kernels(genotype, task, self._graph), _OVERHEAD: _ONCE}
        found = {kind: (1 - self._choice.share) * self._models.sums({kind: row}) for kind, row in totals.items()}
        if self._models.kernels and self._choice.share:
            sizes = [size for block in lowered_blocks(genotype, task, self._graph) for size in sizes_of(block.kernels)]
            times = self._models.kernels.ms(sizes)
            together = self._models.together(float(times.sum()), self._choice)
            for (kind, _), ms in zip(sizes, times, strict=True):
                found[kind] += together * float(ms)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @cached_property
    def quality(self) -> dict[str, float]:
        """Error on the verify networks, which no fit has seen; they chose how the two estimators are put together.

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
        return max(1.0, conformal_factor([*self._ratios, *self._out_of_fold()], self._confidence))

    def _out_of_fold(self) -> Iterator[float]:
        """Measured / predicted of the fit networks by models that were fitted to the others, where those cover them."""
        for fold in range(_BOUND_FOLDS):
            rest = [n for i, n in enumerate(self._fit) if i % _BOUND_FOLDS != fold]
            models = _Models(rest, self._models.kernels is not None, self._models.strength)
            held_out = (n for n in self._fit[fold::_BOUND_FOLDS] if models.cover(n))
            yield from (n.ms / models.of_measured(n, self._choice) for n in held_out)

    def _predicted(self, genotypes: Sequence[Genotype], task: Task) -> list[tuple[float, float, tuple[float, ...]]]:
        """(milliseconds, extrapolated share, milliseconds of each block) of each genotype, new blocks timed in one go."""
        rows = [self._known(genotype, task) for genotype in genotypes]
        if new := [genotype for genotype, row in zip(genotypes, rows, strict=True) if row is None]:
            self._add_blocks(new, task)
            rows = [row or self._known(genotype, task) for genotype, row in zip(genotypes, rows, strict=True)]
        rest = 1 - self._choice.share
        found = []
        for blocks in rows:
            assert blocks, "its blocks were timed just now"
            scale = self._models.together(sum([block.by_kernel for block in blocks]), self._choice)
            times = [scale * block.by_kernel + rest * block.sums for block in blocks]
            times[0] += rest * self._models.overhead
            total = sum(times)
            found.append((total, scale * sum([block.extrapolated for block in blocks]) / total, tuple(times)))
        return found

    def _known(self, genotype: Genotype, task: Task) -> list[_Block] | None:
        """The blocks of a genotype; None if one of them was not met before."""
        found: list[_Block] = []
        image = task.of(genotype).input
        shape: tuple[int, ...] = image
        layout = _FIRST_LAYOUT
        for spec in genotype.blocks:
            block = self._blocks.get((spec, shape, image, task.classes, layout))
            if block is None:
                return None
            found.append(block)
            shape, layout = block.out_shape, block.out_layout
        return found

    def _lowered(self, genotypes: Iterable[Genotype], task: Task) -> dict[_Key, Lowered]:
        """The kernels of the blocks that were not met before."""
        found: dict[_Key, Lowered] = {}
        for genotype in genotypes:
            image = task.of(genotype).input
            shape: tuple[int, ...] = image
            layout = _FIRST_LAYOUT
            for spec in genotype.blocks:
                lowered = lower_block(spec, shape, image, task.classes, layout, self._graph)  # type: ignore[arg-type]
                key = (spec, shape, image, task.classes, layout)
                if key not in self._blocks:
                    found[key] = lowered
                shape, layout = lowered.out_shape, lowered.out_layout
        return found

    def _add_blocks(self, genotypes: Iterable[Genotype], task: Task) -> None:
        """Times blocks that were not met before; raises InputError for an operation that no fit network had."""
        new = self._lowered(genotypes, task)
        for (spec, *_), lowered in new.items():
            self._check_covered(spec, set(lowered.totals))
        sizes = [size for lowered in new.values() for size in sizes_of(lowered.kernels)]
        by_kernel, beyond = self._by_kernel(sizes)
        start = 0
        for key, lowered in new.items():
            part = slice(start, start + len(lowered.kernels))
            start = part.stop
            extrapolated = float(by_kernel[part][beyond[part]].sum())
            sums = self._models.sums(lowered.totals)
            self._blocks[key] = _Block(float(by_kernel[part].sum()), extrapolated, sums, lowered.out_shape, lowered.out_layout)

    def _by_kernel(self, sizes: list[tuple[str, Size]]) -> tuple[Array, NDArray[np.bool_]]:
        """Milliseconds of each kernel by the kernel model, and whether it is beyond those timed; nothing without a model."""
        kernels = self._models.kernels if self._choice.share else None
        if kernels is None or not sizes:
            return np.zeros(len(sizes)), np.zeros(len(sizes), dtype=bool)
        return kernels.ms(sizes), kernels.beyond(sizes)

    def _check_covered(self, spec: BlockSpec, kinds: set[str]) -> None:
        known = set(self._models.kinds)
        if self._models.kernels and self._choice.share:
            known &= self._models.kernels.kinds
        if unseen := sorted(kinds - known):
            raise UncoveredError(
                f'block "{spec.line}" runs {", ".join(unseen)}, which no network had that {self._where} was fitted to; '
                "measure a space that has this block"
            )


class _Models:
    """Both estimators, fitted to measured networks; that of single kernels (`kernels`) where all are `timed`.

    `strength` is that of the prior of the class sums, chosen by cross-validation if None.
    """

    def __init__(self, fit: Sequence[MeasuredNetwork], timed: bool, strength: float | None = None) -> None:
        totals = [_totals(n) for n in fit]
        self.kinds = (_OVERHEAD, *sorted({kind for t in totals for kind in t} - {_OVERHEAD}))
        rows, ms = np.stack([self._row(t) for t in totals]), np.array([n.ms for n in fit])
        prior = np.concatenate([_prior(kind) for kind in self.kinds])
        self.strength = _strength(rows, ms, prior) if strength is None else strength
        self._weights = _regularised_nnls(rows, ms, prior, self.strength)
        self.overhead = self.sums({_OVERHEAD: _ONCE})
        self.kernels = KernelModel([n.kernel_times for n in fit], [n.ms for n in fit]) if timed else None

    def cover(self, network: MeasuredNetwork) -> bool:
        """Whether all operations of a measured network were met."""
        timed = {kind for kind, _, _ in network.kernel_times}
        return set(_totals(network)) <= set(self.kinds) and (not self.kernels or timed <= self.kernels.kinds)

    def sums(self, totals: Totals) -> float:
        """Milliseconds by class sums."""
        return float(self._row(totals) @ self._weights)

    def together(self, by_kernel: float, choice: _Choice) -> float:
        """What each millisecond by the model of kernels counts for in a network that has so many."""
        if not choice.share or self.kernels is None:
            return 0.0
        return choice.share * self.kernels.together(by_kernel, choice.bent)

    def of_measured(self, network: MeasuredNetwork, choice: _Choice) -> float:
        """Milliseconds of a measured network from its stored kernels."""
        sums = self.sums(_totals(network))
        if not choice.share or self.kernels is None:
            return sums
        by_kernel = float(self.kernels.ms([(kind, size) for kind, size, _ in network.kernel_times]).sum())
        return by_kernel * self.together(by_kernel, choice) + (1 - choice.share) * sums

    def _row(self, totals: Totals) -> Array:
        """The features of a network or block, one per class and FEATURE, as one vector."""
        return np.concatenate([np.array(totals.get(k, _NONE), np.float64) for k in self.kinds])


def _totals(network: MeasuredNetwork) -> Totals:
    """A measured network's kernels, summed by class, and what is paid once."""
    return {**network.kernels, _OVERHEAD: _ONCE}


def conformal_factor(ratios: Iterable[float], confidence: float) -> float:
    """The factor that measured / predicted of a new network exceeds with probability at most 1 - confidence.

    It is the ceil((n + 1) confidence)-th smallest of the n exchangeable ratios; raises InputError when n is too small.
    """
    ordered = sorted(ratios)
    _check_enough(len(ordered), confidence, "conformal bound")
    return float(ordered[_rank(len(ordered), confidence) - 1])


def _told(networks: Sequence[MeasuredNetwork]) -> bool:
    """Whether every network's kernels were timed, and are of the classes that they were lowered to, but for a few."""
    timed = {kind for network in networks for kind, _, _ in network.kernel_times}
    lowered = [(kind, totals[0]) for network in networks for kind, totals in network.kernels.items()]
    strange = sum(count for kind, count in lowered if kind not in timed)
    return all(sum(ms for *_, ms in n.kernel_times) > 0 for n in networks) and strange <= _MOST_STRANGE * sum(
        count for _, count in lowered
    )


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


def _strength(rows: Array, measured: Array, prior: Array) -> float:
    """Of the prior: the strongest by which cross-validation hardly loses."""
    folds = np.arange(len(measured)) % min(_FOLDS, len(measured))
    errors = {s: _cross_validated(rows, measured, prior, s, folds) for s in _STRENGTHS}
    return max(s for s, error in errors.items() if error <= _TOLERANCE * min(errors.values()))


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
