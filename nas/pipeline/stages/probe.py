"""Linear probe of every hand-designed network within the budget, with inherited weights."""

from typing import TYPE_CHECKING

from nas.executors.job import Job
from nas.pipeline.job_sources import Probes
from nas.pipeline.rivals import fitting
from nas.records import Probe
from nas.seeds import training_seed

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "restore", False


def run(state: "State") -> None:
    if not state.donor:
        return
    done, candidates = state.study.records(Probe), fitting(state)
    jobs = [
        Job(
            a.genotype.id,
            a.name,
            a.genotype.text,
            state.resolved.recipe,
            training_seed(state.config.seed, a.genotype, "search"),
            probe_only=True,
        )
        for a in sorted(candidates, key=lambda a: a.genotype.input or ())  # workers cache the donor's features per input
        if a.genotype.id not in done
    ]
    state.view.phase("probe the hand-designed networks", len(candidates), len(candidates) - len(jobs))
    if jobs:
        state.train(Probes(jobs, state.study, state.view), Probe.KIND)
