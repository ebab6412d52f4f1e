"""Latency measurements: of finalists before retraining, and of retrained networks before one can win."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from evaluators.weights import load_network
from nas.budget.latency_budget import BUSY, SESSIONS
from nas.records import Ended, Final, Further, Measured, Timing
from nas.run.notes import now
from nas.run.trials import Proposal
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


def holding_untrained(state: "State", trials: Iterable[Proposal], tried: set[str]) -> list[Genotype]:
    """The first trials within the budget when measured, up to the number of finalists, except those `tried`.

    Networks whose bound, corrected by the latest measurements, is over the budget are measured last; otherwise, on a machine
    that has become slower, everything near the budget would be measured in vain.
    """
    found: list[Genotype] = []
    wanted = state.config.finalists
    ranked = [t.genotype for t in trials if t.genotype.id not in tried]
    if not state.config.measure:
        return ranked[:wanted]
    state.view.phase("measure the best candidates", min(wanted, len(ranked)))
    while ranked and len(found) < wanted:
        known = state.study.records(Measured)
        likely = [g for g in ranked if g.id in known or state.estimate(g).fits(state.limits)]
        if not likely and may_search_further(state):
            break
        batch = (likely or ranked)[: wanted - len(found)]
        ranked = [g for g in ranked if g not in batch]
        known |= _screen(state, [g for g in batch if g.id not in known])
        found += [g for g in batch if known[g.id].held]
    return found


def may_search_further(state: "State") -> bool:
    """Whether to add trials because too few finalists are within the budget; once per run, within its time limit."""
    over = any(not m.held for m in state.measured().values())
    ended = any(map(state.study.records, (Further, Ended)))
    return over and not ended and not state.is_late()


def measure_retrained(state: "State", finalists: Iterable[Genotype]) -> None:
    """Measure retrained networks as exported, on the device, in at least two fresh processes."""
    if not state.config.measure:
        return
    finals, known = state.study.records(Final), state.study.records(Measured)
    anchors = [state.anchors[i].genotype for i, final in finals.items() if final.anchor]
    done = {i for i, record in known.items() if record.retrained}
    todo = [g for g in [*finalists, *anchors] if finals[g.id].accuracy is not None and g.id not in done]
    state.view.phase("measure on the device", len(todo))
    while pending := [g for g in todo if state.budget.undecided(_sessions(state, g.id, "retrained"), SESSIONS)]:
        _await_quiet(state, pending)
        _time(state, pending, "retrained")
    _store(state, {g: state.budget.record(_sessions(state, g.id, "retrained"), SESSIONS) for g in todo})


def _screen(state: "State", genotypes: Sequence[Genotype]) -> dict[str, Measured]:
    """Measure untrained networks once; records by id."""
    if pending := [g for g in genotypes if not _sessions(state, g.id, "untrained")]:
        _time(state, pending, "untrained")
    last = {g: _sessions(state, g.id, "untrained")[-1] for g in genotypes}
    return _store(state, {g: state.budget.screening(s, state.above_quiet) for g, s in last.items()})


def _await_quiet(state: "State", genotypes: Sequence[Genotype]) -> None:
    """Wait if a busy machine kept networks over the budget, before measuring again."""
    seconds = max(state.budget.pause_s(_sessions(state, g.id, "retrained"), SESSIONS) for g in genotypes)
    if seconds:
        state.view.say(f"The machine is busy; waiting {seconds:.0f} s before measuring again.")
        state.timer.rest(seconds)


def _time(state: "State", genotypes: Sequence[Genotype], stage: str) -> None:
    """Run one session: export the networks and measure them interleaved in a fresh process."""
    weights = {g.id: state.run.weights(g.id) if stage == "retrained" else None for g in genotypes}
    networks = {g.id: load_network(g, state.task.of(g), weights[g.id]) for g in genotypes}
    number = 1 + max(len(_sessions(state, g.id, stage)) for g in genotypes)
    for genotype_id, figures in state.timer.session(networks, state.task, number).items():
        count = len(_sessions(state, genotype_id, stage))
        state.study.note(Timing(at=now(), **asdict(figures)), f"{genotype_id}/{stage}/{count + 1}")


def _sessions(state: "State", genotype_id: str, stage: str) -> list[Timing]:
    return [t for key, t in state.study.records(Timing).items() if key.startswith(f"{genotype_id}/{stage}/")]


def _store(state: "State", records: Mapping[Genotype, Measured]) -> dict[str, Measured]:
    """Store and print the measurements, and correct the bound; records by id."""
    found = {}
    for genotype, record in records.items():
        usual_ms = record.as_usual_ms
        bound_ms = None if genotype.id in state.anchors else state.estimator.own_bound_ms(genotype)
        score = None if bound_ms is None else usual_ms / bound_ms
        found[genotype.id] = scored = replace(record, score=score)
        state.study.note(scored, genotype.id)
        corrected = not record.retrained and usual_ms < state.budget.figure_ms(record)
        usual = f", {usual_ms:.2f} ms under typical load" if corrected else ""
        over = "" if record.held else f"  over the budget (with {state.budget.spare:.0%} margin, under typical load)"
        figures = f"measured {record.p50_ms:6.2f} ms, p90 {record.p90_ms:6.2f} ms"
        state.view.step(f"{state.name(genotype):<24} {figures}{usual}{over}")
    busy = max((m.contention for m in found.values()), default=0.0)
    if busy > BUSY:
        state.view.say(f"The machine was up to {busy:.0%} slower than when quiet during these measurements.")
    state.learn()
    return found
