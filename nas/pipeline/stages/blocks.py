"""Measure the winner block by block, with the runtime's profiler."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluators.weights import load_network
from nas.pipeline.ranking import best_found, over_seeds
from nas.records import Again, Final, FromZero, Measured, Note
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "test", False


@dataclass(frozen=True, kw_only=True)
class Blocks(Note):
    """`blocks:ID`: milliseconds of each block, scaled to the network's measured latency under typical load."""

    KIND = "blocks"
    ms: tuple[FromZero, ...]


def run(state: "State") -> None:
    measured = state.study.records(Measured)
    finals = over_seeds(state.study.records(Final), state.study.records(Again))
    best = best_found(finals, measured, state.budget, origin="")
    if best is None or best not in measured or best in state.study.records(Blocks):
        return
    genotype = Genotype.parse(finals[best].genotype)
    network = load_network(genotype, state.task.of(genotype), state.weights(best))
    if parts := state.timer.blocks_ms(network, state.task):  # profiling slows a network down, hence the scale
        scale = measured[best].as_usual_ms / sum(parts)
        state.study.note(Blocks(ms=tuple(ms * scale for ms in parts)), best)
