"""Measurements that decide: untrained networks before they are retrained, retrained ones before they may win."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluators.weights import load_network
from nas.budget.latency_budget import BUSY, SESSIONS, SPARE
from nas.run.records import now
from nas.run.trials import Proposal
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


def holding_untrained(state: "State", trials: Iterable[Proposal], tried: set[str]) -> list[Genotype]:
    """The first of them that hold the budget when measured, as many as finalists are wanted; without those `tried`.

    Those that the bound, corrected by what was just measured, puts over the budget wait until there is nothing better: on a
    machine that has become slower, all that comes near the budget would be measured in vain.
    """
    found: list[Genotype] = []
    wanted = state.config.finalists
    ranked = [t.genotype for t in trials if t.genotype.id not in tried]
    if not state.config.measure:
        return ranked[:wanted]
    state.view.phase("measure the best", min(wanted, len(ranked)))
    while ranked and len(found) < wanted:
        known = state.study.notes("measured")
        likely = [g for g in ranked if g.id in known or state.estimate(g).fits(state.budget.allowed_ms)]
        if not likely and may_search_further(state):
            break
        batch = (likely or ranked)[: wanted - len(found)]
        ranked = [g for g in ranked if g not in batch]
        known |= _screen(state, [g for g in batch if g.id not in known])
        found += [g for g in batch if state.budget.held(known[g.id])]
    return found


def may_search_further(state: "State") -> bool:
    """Whether further trials are asked for once too few of the best hold the budget; once in a run, and not after its time."""
    over = any(not state.budget.held(m) for m in state.measured().values())
    return over and not (state.study.notes("further") or state.study.notes("ended") or state.is_late())


def measure_retrained(state: "State", finalists: Iterable[Genotype]) -> None:
    """What is exported is what is measured: the retrained networks, on the device, twice in fresh processes."""
    if not state.config.measure:
        return
    finals, known = state.study.notes("final"), state.study.notes("measured")
    anchors = [state.anchors[i].genotype for i, final in finals.items() if final["origin"].startswith("anchor:")]
    genotypes = [*finalists, *anchors]
    todo = [g for g in genotypes if "accuracy" in finals[g.id] and not known.get(g.id, {}).get("retrained")]
    state.view.phase("measure on the device", len(todo))
    while pending := [g for g in todo if state.budget.undecided(_sessions(state, g.id, "retrained"), SESSIONS)]:
        _await_quiet(state, pending)
        _time(state, pending, "retrained")
    records = {g: state.budget.record(_sessions(state, g.id, "retrained"), SESSIONS) for g in todo}
    _keep(state, records, retrained=True)


def _screen(state: "State", genotypes: Sequence[Genotype]) -> dict[str, dict[str, Any]]:
    """Times networks untrained, once: whether they would hold the budget; figures by id."""
    if pending := [g for g in genotypes if not _sessions(state, g.id, "untrained")]:
        _time(state, pending, "untrained")
    last = {g: _sessions(state, g.id, "untrained")[-1] for g in genotypes}
    return _keep(state, {g: state.budget.screening(s, state.above_quiet) for g, s in last.items()}, retrained=False)


def _await_quiet(state: "State", genotypes: Sequence[Genotype]) -> None:
    """Waits where a busy machine kept networks from holding the budget: what is measured again at once meets the same."""
    seconds = max(state.budget.pause_s(_sessions(state, g.id, "retrained"), SESSIONS) for g in genotypes)
    if seconds:
        state.view.say(f"The machine is busy; waiting {seconds:.0f} s for a quieter moment to measure again.")
        state.timer.rest(seconds)


def _time(state: "State", genotypes: Sequence[Genotype], stage: str) -> None:
    """One session: the networks exported anew, and timed in turns in a fresh process."""
    weights = {g.id: state.run.weights(g.id) if stage == "retrained" else None for g in genotypes}
    networks = {g.id: load_network(g, state.task.of(g), weights[g.id]) for g in genotypes}
    number = 1 + max(len(_sessions(state, g.id, stage)) for g in genotypes)
    for genotype_id, figures in state.timer.session(networks, state.task, number).items():
        count = len(_sessions(state, genotype_id, stage))
        state.study.note(f"timing:{genotype_id}/{stage}/{count + 1}", {"at": now(), **asdict(figures)})


def _sessions(state: "State", genotype_id: str, stage: str) -> list[dict[str, Any]]:
    return [t for key, t in state.study.notes("timing").items() if key.startswith(f"{genotype_id}/{stage}/")]


def _keep(state: "State", records: Mapping[Genotype, dict[str, Any]], retrained: bool) -> dict[str, dict[str, Any]]:
    """Keeps and shows what networks' sessions come to, and corrects the bound by it; the records by id."""
    found: dict[str, dict[str, Any]] = {}
    for genotype, record in records.items():
        found[genotype.id] = record = record | {"retrained": retrained}
        if genotype.id not in state.anchors:
            record["score"] = record["as_usual_ms"] / state.estimator.own_bound_ms(genotype)
        state.study.note(f"measured:{genotype.id}", record)
        usual_ms = record["as_usual_ms"]
        corrected = not retrained and usual_ms < state.budget.figure_ms(record)
        usual = f", {usual_ms:.2f} ms at the machine's usual speed" if corrected else ""
        over = "" if record["held"] else f"  over the budget, of which {SPARE:.0%} must be left at the usual speed"
        figures = f"measured {record['p50_ms']:6.2f} ms, p90 {record['p90_ms']:6.2f} ms"
        state.view.step(f"{state.name(genotype):<24} {figures}{usual}{over}")
    busy = max((m["contention"] for m in found.values()), default=0.0)
    if busy > BUSY:
        state.view.say(f"While this was measured the machine was up to {busy:.0%} slower than at its quietest.")
    state.learn()
    return found
