"""Evaluate hand-designed networks, then candidates proposed by the sampler."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from nas.budget.latency_budget import CHECK_EVERY
from nas.pipeline.ahead import ahead
from nas.pipeline.job_sources import Proposals
from nas.pipeline.rivals import fitting, probes, trained_beside
from nas.records import Further
from nas.run.trials import Proposal

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "probe", False


def run(state: "State") -> None:
    further = sum(note.trials for note in state.study.records(Further).values())
    source = Proposals(
        state,
        state.study,
        state.config.trials + further,
        first=_anchors(state),
        check=lambda proposal: _check(state, proposal),
        deadline=state.deadline,
    )
    before = source.done_before + source.waiting  # the first proposal
    with ahead(state, before) if source.waiting and before < source.total else nullcontext():
        rate(state, "search", source)


def rate(state: "State", title: str, candidates: Proposals) -> None:
    """Evaluate candidates, as one phase; creating the evaluator may add a phase before it."""
    executor = state.rater() if candidates.has_more() else None
    state.view.phase(title, candidates.total, candidates.done_before)
    if executor:
        executor.run(state.recorded(candidates, candidates.stage) if state.evaluator.TRAINS else candidates)


def _check(state: "State", proposal: Proposal) -> None:
    """Measure every CHECK_EVERY-th candidate accepted by its bound; a bound that was too low is corrected."""
    if state.config.latency_budget_ms is None:
        return
    turn = state.study.seen.turn(proposal.number)
    if state.config.measure and turn is not None and turn % CHECK_EVERY == 0:
        state.timed(proposal.genotype, proposal.estimate)


def _anchors(state: "State") -> Iterator[Proposal]:
    """Enter anchors within the budget as trials, once; yields those to train.

    If the evaluator does not train candidates, anchors outside the space cannot be evaluated and serve as references only.
    """
    candidates, trains = fitting(state), state.evaluator.TRAINS
    probed, rivals = probes(state) if trains else {}, trained_beside(state, candidates)
    for entry in candidates:
        if not trains and state.space.place_of(entry) != "inside":
            continue
        probe = None if entry in rivals else probed.get(entry.genotype.id)
        if entry not in rivals and probe is None:
            continue
        proposal = state.study.seed_anchor(entry, probe)
        if proposal and probe is None:
            yield proposal
