"""The best of the search are retrained beside the hand-designed networks and measured, until one of them holds the budget."""

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
    """The best of the search that hold the budget when measured; with a second objective, along the front of both."""
    ranked, cost = ranking(state.study.trials()), state.config.cost
    return holding_untrained(state, along_front(ranked, cost) if cost else ranked, tried)


def _search_further(state: "State") -> bool:
    """Once, when too few hold the budget as measured: as many further trials as finalists are wanted."""
    if not may_search_further(state):
        return False
    held = [m.held for m in state.measured().values()]
    growth = state.estimator.growth
    state.study.note(Further(trials=state.config.finalists, growth=growth), "search")
    state.view.say(
        f"{sum(held)} of {len(held)} networks that were measured hold the budget: {state.config.finalists} further trials, "
        f"with the bound {growth:.3f} times as high."
    )
    propose.run(state)
    return True


def _retrain(state: "State", finalists: Iterable[Genotype]) -> None:
    """Finalists, anchors and what random search found."""
    wanted = {g.id: Wanted(g.id, "random", g) for g in state.others}
    wanted |= {g.id: Wanted(g.id, "search", g) for g in finalists}
    wanted |= {a.genotype.id: Wanted(a.genotype.id, f"anchor:{a.name}", a.genotype) for a in rivals.retrained(state)}
    retrain(state, "retrain the best and the anchors", Final, wanted)


def _holding(state: "State", finalists: Iterable[Genotype]) -> list[str]:
    finals, measured = state.study.records(Final), state.study.records(Measured)
    return [g.id for g in finalists if state.budget.kept(finals[g.id], measured.get(g.id))]
