"""Hand-designed networks of a search: which are within the budget, and which are trained for comparison."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.pipeline.ranking import ranking, rival_anchors
from nas.records import Final, Measured, Probe
from search_spaces.anchor import Anchor, base_name
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from nas.pipeline.state import State


def fitting(state: "State") -> list[Anchor]:
    """Anchors within the budget; measures those whose estimate is inconclusive or that cannot be predicted.

    Those that the device's runtime cannot run are left out, and named.
    """
    found = []
    for entry in state.anchors.values():
        estimate = state.estimate(entry.genotype)
        unknown = state.config.measure and estimate.beyond(state.limits)
        if unknown or state.study.in_doubt(estimate):
            try:
                estimate = state.timed(entry.genotype, estimate)
            except InputError as error:
                state.leave_out(entry, str(error))
                continue
        if estimate.fits(state.limits):
            found.append(entry)
    return found


def probes(state: "State") -> dict[str, float]:
    """Linear probe accuracies of hand-designed networks, by genotype id."""
    return {i: probe.accuracy for i, probe in state.study.records(Probe).items() if probe.accuracy is not None}


def trained_beside(state: "State", candidates: Sequence[Anchor]) -> list[Anchor]:
    """Anchors among `candidates` to train for comparison."""
    return rival_anchors(candidates, probes(state), state.config.rivals, _always_trained(state))


def retrained(state: "State") -> list[Anchor]:
    """Hand-designed networks to retrain: the best that the search trained, the donor, and those requested.

    If the evaluator does not train candidates, all anchors selected for comparison.
    """
    if not state.evaluator.TRAINS:
        return trained_beside(state, fitting(state))
    trained = [t for t in ranking(state.study.trials(), anchors=True) if t.anchor]
    own = [t for t in trained if base_name(t.anchor or "") in _always_trained(state)]
    best = [t for t in trained if t not in own][: state.config.finalists]
    return [state.anchors[t.genotype.id] for t in [*best, *own] if t.genotype.id in state.anchors]


def smaller(state: "State") -> list[Anchor]:
    """Hand-designed networks over the budget at all measured inputs, at the next smaller input."""
    finals, measured = state.study.records(Final), state.study.records(Measured)
    trained = [state.anchors[i] for i in finals if i in state.anchors and i in measured and measured[i].retrained]
    over = dict.fromkeys(base_name(a.name) for a in trained)
    for entry in trained:
        if measured[entry.genotype.id].held:
            over.pop(base_name(entry.name), None)
    others = [a for a in fitting(state) if a.genotype.id not in finals] if over else []
    found = []
    for name in over:
        least = min(_pixels(a) for a in trained if base_name(a.name) == name)
        below = [a for a in others if base_name(a.name) == name and _pixels(a) < least]
        found += [max(below, key=_pixels)] if below else []
    return found


def _always_trained(state: "State") -> set[str]:
    """Names of anchors that are always trained: the donor, and those requested."""
    return {*state.resolved.anchors, *([state.donor.name] if state.donor else [])}


def _pixels(known: Anchor) -> int:
    """Number of pixels of its input."""
    return math.prod((known.genotype.input or known.task.input)[1:])
