"""Successive halving: stop trials early, by linear probe and between epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.run.trials import Proposal

SCREENING = 3  # one in this many probed candidates is trained


def screened(own: "Proposal", trials: "Sequence[Proposal]", cost: str | None) -> bool:
    """Whether to skip training a candidate: only the best 1 in SCREENING by probe are trained; anchors are never screened."""
    rivals = [t for t in _rivals(own, trials, cost) if t.anchor is None and t.probe is not None]
    better = sum(t.rungs[0] > own.rungs[0] for t in rivals)
    return own.anchor is None and better >= max(1, len(rivals) // SCREENING)


def falls_behind(own: "Proposal", trials: "Sequence[Proposal]", epoch: int, reduction: int, cost: str | None) -> bool:
    """Asynchronous successive halving (arXiv:1810.05934): at epochs 1, r, r^2 ... the best 1/r of a rung continue."""
    if epoch not in {reduction**k for k in range(epoch)}:
        return False
    rivals = [t for t in _rivals(own, trials, cost) if len(t.accuracies) >= epoch]
    better = sum(t.accuracies[epoch - 1] > own.accuracies[epoch - 1] for t in rivals)
    return better >= max(1, len(rivals) // reduction)


def _rivals(own: "Proposal", trials: "Sequence[Proposal]", cost: str | None) -> "list[Proposal]":
    """Trials to compare with; with a second objective, only those that cost no more."""
    rivals = [t for t in trials if t.outcome != "repeated"]
    if cost:
        rivals = [t for t in rivals if t.estimate.figure(cost) <= own.estimate.figure(cost)]
    return rivals
