"""Retrain networks whose weights are missing, with the same seeds, and update their records."""

from typing import TYPE_CHECKING

from nas.pipeline.retraining import Wanted, retrain
from nas.records import Again, Final
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "", True


def run(state: "State") -> None:
    for kind, notes in lost(state).items():
        names = ", ".join(f"weights/{state.weights(key).name}" for key in notes)
        state.view.say(f"Missing in {state.run.path}: {names}")
        (state.run.path / "weights").mkdir(exist_ok=True)
        wanted = {key: Wanted(key.partition("/")[0], n.origin, Genotype.parse(n.genotype)) for key, n in notes.items()}
        retrain(state, "retrain networks with missing weights", kind, wanted, notes)
        state.again += notes


def lost(state: "State") -> dict[type[Final], dict[str, Final]]:
    """Retrainings whose weights are missing, by kind and key; kinds without any are omitted."""
    found = {}
    for kind in (Final, Again):
        trained = {key: n for key, n in state.study.records(kind).items() if n.accuracy is not None}
        if gone := {key: n for key, n in trained.items() if not state.weights(key).is_file()}:
            found[kind] = gone
    return found
