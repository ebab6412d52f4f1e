"""Retrain and measure finalists and hand-designed networks, until a finalist is within the budget."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nas.pipeline import rivals
from nas.pipeline.measuring import holding_untrained, may_search_further, measure_retrained
from nas.pipeline.ranking import along_front, ranking
from nas.pipeline.retraining import Wanted, retrain
from nas.pipeline.stages import propose
from nas.records import Final, Further, Measured
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "baseline", False


def run(state: "State") -> None:
    tried: set[str] = set()
    while True:
        finalists = _finalists(state, tried)
        if len(finalists) < state.config.finalists and _search_further(state):
            continue
        _retrain(state, finalists)
        measure_retrained(state, [*finalists, *state.others])
        if _holding(state, finalists) or not finalists:
            return
        tried |= {g.id for g in finalists}


def _finalists(state: "State", tried: set[str]) -> list[Genotype]:
    """The best candidates within the budget when measured; with a second objective, along the Pareto front."""
    ranked, cost = ranking(state.study.trials()), state.config.cost
    return holding_untrained(state, along_front(ranked, cost) if cost else ranked, tried)


def _search_further(state: "State") -> bool:
    """Once per run, if too few candidates are within the budget when measured, add as many trials as finalists."""
    if not may_search_further(state):
        return False
    held = [m.held for m in state.measured().values()]
    growth = state.estimator.growth
    state.study.note(Further(trials=state.config.finalists, growth=growth), "search")
    state.view.say(
        f"{sum(held)} of {len(held)} measured networks are within the budget: adding {state.config.finalists} trials, with "
        f"the upper bound scaled by {growth:.3f}."
    )
    propose.run(state)
    return True


def _retrain(state: "State", finalists: Iterable[Genotype]) -> None:
    """Retrain finalists, anchors and the best of random search."""
    wanted = {g.id: Wanted(g.id, "random", g) for g in state.others}
    wanted |= {g.id: Wanted(g.id, "search", g) for g in finalists}
    wanted |= {a.genotype.id: Wanted(a.genotype.id, f"anchor:{a.name}", a.genotype) for a in rivals.retrained(state)}
    retrain(state, "retrain finalists and anchors", Final, wanted)


def _holding(state: "State", finalists: Iterable[Genotype]) -> list[str]:
    finals, measured = state.study.records(Final), state.study.records(Measured)
    return [g.id for g in finalists if state.budget.kept(finals[g.id], measured.get(g.id))]
