"""Successive halving: stop trials early, by linear probe and between epochs."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nas.run.trials import Proposal

SCREENING = 3  # one in this many probed candidates is trained


class Rungs:
    """What trials reached at each epoch (0: the probe), and which of them go on.

    A trial is compared with those that reached the same epoch; with a second objective `cost`, only with those that cost no
    more.
    """

    def __init__(self, trials: "Iterable[Proposal]", cost: str | None) -> None:
        self._cost, self._epochs = cost, defaultdict[int, _Rung](_Rung)
        for trial in trials:
            for epoch, accuracy in [*([(0, trial.probe)] if trial.probe is not None else []), *enumerate(trial.accuracies, 1)]:
                self.reached(trial, epoch, accuracy)

    def reached(self, trial: "Proposal", epoch: int, accuracy: float) -> None:
        """Enter a trial's accuracy after an epoch, or its probe's; anchors' probes do not count."""
        if epoch or trial.anchor is None:
            self._epochs[epoch].add(accuracy, self._cost_of(trial))

    def screened(self, own: "Proposal") -> bool:
        """Whether to skip training a candidate: only the best 1 in SCREENING by probe are trained; anchors always."""
        return own.anchor is None and self._behind(own, 0, own.rungs[0], SCREENING)

    def falls_behind(self, own: "Proposal", epoch: int, reduction: int) -> bool:
        """Asynchronous successive halving (arXiv:1810.05934): at epochs 1, r, r^2 ... the best 1/r of a rung continue."""
        if epoch not in {reduction**k for k in range(epoch)}:
            return False
        return self._behind(own, epoch, own.accuracies[epoch - 1], reduction)

    def _behind(self, own: "Proposal", epoch: int, accuracy: float, reduction: int) -> bool:
        rivals, better = self._epochs[epoch].counts(accuracy, self._cost_of(own))
        return better >= max(1, rivals // reduction)

    def _cost_of(self, trial: "Proposal") -> float:
        return trial.estimate.figure(self._cost) if self._cost else 0.0


class _Rung:
    """Accuracies and costs at one epoch."""

    def __init__(self) -> None:
        self._accuracies, self._costs = array("d"), array("d")

    def add(self, accuracy: float, cost: float) -> None:
        self._accuracies.append(accuracy)
        self._costs.append(cost)

    def counts(self, accuracy: float, cost: float) -> tuple[int, int]:
        """The number of trials that cost no more, and of those among them that are better."""
        affordable = np.asarray(self._costs) <= cost
        better = affordable & (np.asarray(self._accuracies) > accuracy)
        return int(affordable.sum()), int(better.sum())
