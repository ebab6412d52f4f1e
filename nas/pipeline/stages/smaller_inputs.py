"""Retrain hand-designed networks that were over the budget at smaller inputs, until they fit."""

from typing import TYPE_CHECKING

from nas.pipeline import rivals
from nas.pipeline.measuring import measure_retrained
from nas.pipeline.retraining import Wanted, retrain
from nas.records import Final

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "finals", False


def run(state: "State") -> None:
    while smaller := rivals.smaller(state):
        wanted = {a.genotype.id: Wanted(a.genotype.id, f"anchor:{a.name}", a.genotype) for a in smaller}
        retrain(state, "retrain hand-designed networks at a smaller input", Final, wanted)
        measure_retrained(state, [])
