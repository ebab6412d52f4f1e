"""Successive halving: which trials stop early, by their probe and between epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.run.trials import Proposal

SCREENING = 3  # of so many candidates that were probed, the best is trained


def screened(own: "Proposal", trials: "Sequence[Proposal]", cost: str | None) -> bool:
    """Whether a candidate is not trained: of those probed the best 1 in SCREENING go on; anchors were chosen before."""
    rivals = [t for t in _rivals(own, trials, cost) if t.anchor is None and t.probe is not None]
    better = sum(t.rungs[0] > own.rungs[0] for t in rivals)
    return own.anchor is None and better >= max(1, len(rivals) // SCREENING)


def falls_behind(own: "Proposal", trials: "Sequence[Proposal]", epoch: int, reduction: int, cost: str | None) -> bool:
    """Asynchronous successive halving (arXiv:1810.05934): at epochs 1, r, r^2 ... the best 1/r of a rung go on."""
    if epoch not in {reduction**k for k in range(epoch)}:
        return False
    rivals = [t for t in _rivals(own, trials, cost) if len(t.accuracies) >= epoch]
    better = sum(t.accuracies[epoch - 1] > own.accuracies[epoch - 1] for t in rivals)
    return better >= max(1, len(rivals) // reduction)


def _rivals(own: "Proposal", trials: "Sequence[Proposal]", cost: str | None) -> "list[Proposal]":
    """The trials that it competes with; with a second objective those that cost no more."""
    rivals = [t for t in trials if t.outcome != "repeated"]
    if cost:
        rivals = [t for t in rivals if t.estimate.figure(cost) <= own.estimate.figure(cost)]
    return rivals
