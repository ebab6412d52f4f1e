"""Retrain networks that can still win with more seeds: one training cannot resolve differences of a point."""

from typing import TYPE_CHECKING

from nas.pipeline.ranking import contenders
from nas.pipeline.retraining import Wanted, retrain
from nas.records import Again, Final, Measured
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "smaller_inputs", False


def run(state: "State") -> None:
    finals = {i: f for i, f in state.study.records(Final).items() if f.accuracy is not None}
    ids = contenders(finals, state.study.records(Measured), state.budget, state.config.finalists)
    wanted = {
        f"{i}/{seed}": Wanted(i, finals[i].origin, Genotype.parse(finals[i].genotype))
        for seed in range(2, state.config.final_seeds + 1)
        for i in ids
    }
    if wanted:
        retrain(state, "retrain with more seeds", Again, wanted)
