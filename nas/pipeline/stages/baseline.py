"""Optional random-search baseline, with as many trainings as the search and the same recipe."""

from typing import TYPE_CHECKING

from nas.pipeline.job_sources import Proposals
from nas.pipeline.measuring import holding_untrained
from nas.pipeline.ranking import ranking
from nas.pipeline.stages.propose import rate

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "propose", False


def run(state: "State") -> None:
    if not state.config.baseline:
        return
    study = state.study.beside("random", "random")
    trials = sum(t.outcome in ("trained", "stopped", "failed") for t in state.study.trials())
    rate(state, "random search baseline", Proposals(state, study, trials, stage="baseline"))
    state.others = holding_untrained(state, ranking(study.trials()), set())
