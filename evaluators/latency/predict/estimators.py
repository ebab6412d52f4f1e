"""The two latency estimators, fitted to measured networks, and how they are combined."""

from collections import Counter
from collections.abc import Sequence

from evaluators.latency.device.profile import MeasuredNetwork
from evaluators.latency.predict.class_sums import ONCE, OVERHEAD, ClassSums, Totals
from evaluators.latency.predict.kernel_model import KernelModel

_MOST_DIFFERENT = 0.05  # share of kernels that the lowering may give otherwise than the runtime


SHARES = (0.9, 0.5, 0.0)
"""Shares of the kernel model in the prediction, the best first; class sums have the rest."""


class Estimators:
    """Class sums of measured networks and, if all were `timed` kernel by kernel, a model of single kernels.

    `strength` of the class sums' prior is chosen by cross-validation if None.
    """

    def __init__(self, fit: Sequence[MeasuredNetwork], timed: bool, strength: float | None = None) -> None:
        milliseconds = [n.ms for n in fit]
        self.sums = ClassSums([_totals(n) for n in fit], milliseconds, strength)
        self.kernels = KernelModel([n.kernel_times for n in fit], milliseconds) if timed else None

    def cover(self, network: MeasuredNetwork) -> bool:
        """Whether the fit networks contain every operation of a measured network."""
        timed = {kind for kind, _, _ in network.kernel_times}
        return set(_totals(network)) <= set(self.sums.kinds) and (not self.kernels or timed <= self.kernels.kinds)

    def of_measured(self, network: MeasuredNetwork, share: float) -> float:
        """Milliseconds of a measured network from its stored kernels, with a `share` of the kernel model."""
        sums = self.sums.ms(_totals(network))
        if not share or self.kernels is None:
            return sums
        by_kernel = float(self.kernels.at([(kind, size) for kind, size, _ in network.kernel_times]).sum())
        return share * self.kernels.together * by_kernel + (1 - share) * sums


def _totals(network: MeasuredNetwork) -> Totals:
    """A measured network's kernels summed by class, plus the fixed cost per run."""
    return {**network.kernels, OVERHEAD: ONCE}


def kernels_timed(networks: Sequence[MeasuredNetwork]) -> bool:
    """Whether every network has kernel times, and all but a few of its lowered kernels are those that were timed."""
    different = total = 0
    for network in networks:
        timed = Counter(kind for kind, _, _ in network.kernel_times)
        lowered = Counter({kind: totals[0] for kind, totals in network.kernels.items()})
        different += (lowered - timed).total() + (timed - lowered).total()
        total += lowered.total()
    return all(sum(ms for *_, ms in n.kernel_times) > 0 for n in networks) and different <= _MOST_DIFFERENT * total
