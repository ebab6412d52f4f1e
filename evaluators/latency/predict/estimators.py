"""The two latency estimators, fitted to measured networks, and how they are combined."""

from collections.abc import Sequence
from typing import NamedTuple

from evaluators.latency.device.profile import MeasuredNetwork
from evaluators.latency.predict.class_sums import ONCE, OVERHEAD, ClassSums, Totals
from evaluators.latency.predict.kernel_model import KernelModel

_MOST_STRANGE = 0.02  # share of lowered kernels that may be of classes the runtime never reported


class Choice(NamedTuple):
    """The kernel model's share of the prediction (class sums have the rest), and whether a power law scales its sum."""

    share: float
    bent: bool


CHOICES = (Choice(0.9, False), Choice(0.9, True), Choice(0.5, False), Choice(0.5, True), Choice(0.0, False))  # the best first


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

    def together(self, by_kernel: float, choice: Choice) -> float:
        """The factor on the kernel model's milliseconds for a network with `by_kernel` of them in total."""
        if not choice.share or self.kernels is None:
            return 0.0
        return choice.share * self.kernels.together(by_kernel, choice.bent)

    def of_measured(self, network: MeasuredNetwork, choice: Choice) -> float:
        """Milliseconds of a measured network from its stored kernels."""
        sums = self.sums.ms(_totals(network))
        if not choice.share or self.kernels is None:
            return sums
        by_kernel = float(self.kernels.ms([(kind, size) for kind, size, _ in network.kernel_times]).sum())
        return by_kernel * self.together(by_kernel, choice) + (1 - choice.share) * sums


def _totals(network: MeasuredNetwork) -> Totals:
    """A measured network's kernels summed by class, plus the fixed cost per run."""
    return {**network.kernels, OVERHEAD: ONCE}


def kernels_timed(networks: Sequence[MeasuredNetwork]) -> bool:
    """Whether every network has kernel times, and all but a few lowered kernels are of classes that were timed."""
    timed = {kind for network in networks for kind, _, _ in network.kernel_times}
    lowered = [(kind, totals[0]) for network in networks for kind, totals in network.kernels.items()]
    strange = sum(count for kind, count in lowered if kind not in timed)
    return all(sum(ms for *_, ms in n.kernel_times) > 0 for n in networks) and strange <= _MOST_STRANGE * sum(
        count for _, count in lowered
    )
