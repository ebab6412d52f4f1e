"""Predictor: latency of any genotype on a measured device, with an upper bound.

A block's traced graph is lowered to the kernels that the runtime runs (evaluators.latency.kernels). Two estimators use them.
The first sums predictions for single kernels (kernel_model.py). It requires a runtime that reports kernel times and runs the
kernels that the lowering expects; ONNX Runtime optimises differently on other processors.
The second needs end-to-end times only: a roofline model, linear in each kernel class's count, padded MACs, elements moved and
weights, with non-negative slopes. It is fitted to the profile's fit networks: relative errors are minimised, and the slopes
shrunk towards a generic machine, scaled to the device's speed, as strongly as cross-validation allows. The verify networks
choose between the two and their mean. The kernel model is preferred, as it extrapolates better, unless another choice is
clearly better. The verify networks also give `quality`.

The upper bound is one-sided conformal prediction from the scores of the verify networks and the out-of-fold scores of the fit
networks (Vovk, "Cross-conformal predictors", 2015; CV+ of Barber et al., arXiv:1905.02928). From two dozen verify networks
alone, it would be their largest score, which varies a lot from one draw of networks to the next.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluators.latency.device.profile import FIT, VERIFY, Calibration, MeasuredNetwork, Profile
from evaluators.latency.kernels.lowering import LOWERING, graph_run, lowered_blocks, total_kernels
from evaluators.latency.predict.bound import check_enough, conformal_factor
from evaluators.latency.predict.class_sums import ONCE, OVERHEAD, TOLERANCE, Array
from evaluators.latency.predict.estimators import SHARES, Estimators, kernels_timed
from evaluators.latency.predict.kernel_model import sizes_of
from evaluators.latency.predict.older_profiles import relowered
from evaluators.latency.predict.timed_blocks import TimedBlocks, UncoveredError
from evaluators.latency.runtime import Graph, load_runtime
from evaluators.latency.timing.measure import slowdown
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.task import Task, input_text

MOST_EXTRAPOLATED = 0.1
_SINCE: Mapping[Graph, int] = {"quantised": 5, "fused8": 6}  # older lowerings cannot be brought up to date
_BOUND_FOLDS = 6


@dataclass(frozen=True)
class Prediction:
    """Milliseconds of one inference on a quiet machine: point prediction, upper bound, and each block's share of `ms`.

    extrapolated: the share of `ms` in kernels with sizes or settings outside the timed range. It widens the bound by the
    same share; above MOST_EXTRAPOLATED, the prediction is not reliable.
    """

    ms: float
    bound_ms: float
    block_ms: tuple[float, ...]
    extrapolated: float = 0.0

    @property
    def reliable(self) -> bool:
        return self.extrapolated <= MOST_EXTRAPOLATED


class Predictor:
    """Fitted on construction to a profile's calibration for one space; predicts latency on a quiet machine.

    Under typical load, the median over the calibration's networks, latency is `usual_slowdown` times as high.
    Raises InputError when there are too few verify networks for a bound at `confidence`.
    """

    def __init__(self, profile: Profile, calibration: Calibration, confidence: float = 0.95) -> None:
        self._where = f"device {profile.name}, space {calibration.space}"
        self._confidence = confidence
        self._calibration = calibration
        self.usual_slowdown = slowdown(calibration.contention)
        timed = (kernel for network in calibration.networks for kernel in network.kernel_times)
        self._graph = graph_run(load_runtime(profile.device.runtime).GRAPH, timed)
        self._fit, self._verify = self._measured(FIT), self._measured(VERIFY)
        check_enough(len(self._verify), confidence, self._where)
        if len(self._fit) < _BOUND_FOLDS:
            few = f"{len(self._fit)} fit networks are too few; at least {_BOUND_FOLDS} are needed"
            raise InputError(f"{self._where}: {few}; run `nas device measure` again")
        self._models = Estimators(self._fit, timed=kernels_timed((*self._fit, *self._verify)))
        self._usable = tuple(n for n in self._verify if self._models.cover(n))
        check_enough(len(self._usable), confidence, self._where)
        self._share, self._ratios = self._chosen()
        kernels = self._models.kernels if self._share else None
        self._blocks = TimedBlocks(self._models.sums, kernels, self._graph, self._where)

    def _measured(self, split: str) -> tuple[MeasuredNetwork, ...]:
        networks = self._calibration.split(split)
        if self._calibration.lowering == LOWERING:
            return networks
        if self._calibration.lowering < _SINCE.get(self._graph, 0):
            again = f"nas device measure --space {self._calibration.space}" + " --precision int8" * (self._graph == "quantised")
            raise InputError(
                f"{self._where}: measured by an earlier version, which told fewer kernels apart; measure again with `{again}`"
            )
        return tuple(relowered(network, self._graph) for network in networks)

    def _chosen(self) -> tuple[float, Array]:
        """The kernel model's best share on the verify networks, and their measured / predicted with it."""
        ratios = {
            share: np.array([n.ms / self._models.of_measured(n, share) for n in self._usable])
            for share in (SHARES if self._models.kernels else SHARES[-1:])
        }
        errors = {share: float(np.sqrt(np.mean((1 / found - 1) ** 2))) for share, found in ratios.items()}
        chosen = next(share for share, error in errors.items() if error <= TOLERANCE * min(errors.values()))
        return chosen, ratios[chosen]

    def of_measured(self, network: MeasuredNetwork) -> float:
        """The prediction for a measured network, from its stored kernels, without tracing."""
        return self._models.of_measured(network, self._share)

    def predict(self, genotype: Genotype, task: Task) -> Prediction:
        """Predicts the latency of `genotype` built for `task`, at the genotype's own input if it has one.

        Raises InputError for an input that was not measured, and for an operation that no fit network has.
        """
        return self.predict_many([genotype], task)[0]

    def predict_many(self, genotypes: Sequence[Genotype], task: Task) -> list[Prediction]:
        """`predict` for many genotypes: over ten thousand per second once their blocks are cached (benchmarks/cost.py)."""
        return [
            Prediction(ms, ms * self.factor * (1 + beyond), blocks, beyond)
            for ms, beyond, blocks in self._predicted(genotypes, task)
        ]

    def usual_block_ms(self, genotype: Genotype, task: Task) -> tuple[float, ...]:
        """Milliseconds of each block under typical load; raises InputError like `predict`.

        It spares the bound, whose factor takes as long as everything else.
        """
        [(_, _, blocks)] = self._predicted([genotype], task)
        return tuple(self.usual_slowdown * ms for ms in blocks)

    def covered(self, genotypes: Sequence[Genotype], task: Task) -> list[Prediction | None]:
        """`predict_many`, with None for genotypes with an operation that no fit network has."""
        try:
            return list(self.predict_many(genotypes, task))
        except UncoveredError:
            if len(genotypes) == 1:
                return [None]
            half = len(genotypes) // 2
            return self.covered(genotypes[:half], task) + self.covered(genotypes[half:], task)

    def class_ms(self, genotype: Genotype, task: Task) -> dict[str, float]:
        """Predicted milliseconds by kernel class, slowest first; the fixed cost per run is `network`."""
        self.predict(genotype, task)  # raises for what the profile does not cover
        task = task.of(genotype)
        totals = {**total_kernels(genotype, task, self._graph), OVERHEAD: ONCE}
        found = {kind: (1 - self._share) * self._models.sums.ms({kind: row}) for kind, row in totals.items()}
        if (kernels := self._models.kernels) and self._share:
            sizes = [size for block in lowered_blocks(genotype, task, self._graph) for size in sizes_of(block.kernels)]
            for (kind, _), ms in zip(sizes, kernels.at(sizes), strict=True):
                found[kind] += self._share * kernels.together * float(ms)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @cached_property
    def quality(self) -> dict[str, float]:
        """Error on the verify networks, which are held out from the fit but choose how the estimators are combined.

        rmspe and bias are relative (0.1 is 10 %), within_5 and within_10 shares, spearman the rank correlation, n the
        number of networks; refused counts those with an unseen operation; factor is bound / prediction at `confidence`.
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
        """Measured / predicted of the fit networks by models fitted to the other folds, where those cover them."""
        for fold in range(_BOUND_FOLDS):
            rest = [n for i, n in enumerate(self._fit) if i % _BOUND_FOLDS != fold]
            models = Estimators(rest, self._models.kernels is not None, self._models.sums.strength)
            held_out = (n for n in self._fit[fold::_BOUND_FOLDS] if models.cover(n))
            yield from (n.ms / models.of_measured(n, self._share) for n in held_out)

    def _predicted(self, genotypes: Sequence[Genotype], task: Task) -> list[tuple[float, float, tuple[float, ...]]]:
        """(milliseconds, extrapolated share, milliseconds of each block) of each genotype."""
        for input in {task.of(genotype).input for genotype in genotypes}.difference(self._calibration.inputs):
            measured = ", ".join(map(input_text, self._calibration.inputs))
            raise InputError(f"{self._where}: measured at input {measured}, not {input_text(input)}")
        rest, kernels = 1 - self._share, self._models.kernels if self._share else None
        found = []
        for blocks in self._blocks.of(genotypes, task):
            times = rest * np.array([block.sums for block in blocks])
            times[0] += rest * self._models.sums.overhead
            extrapolated = 0.0
            if kernels:
                levels = self._share * kernels.together * kernels.weights(sum([block.footprint for block in blocks]))
                times += np.array([block.by_kernel for block in blocks]) @ levels
                extrapolated = float(np.sum([block.extrapolated for block in blocks], axis=0) @ levels)
            total = float(times.sum())
            found.append((total, extrapolated / total, tuple(times.tolist())))
        return found
