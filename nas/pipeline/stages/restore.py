"""Trains networks whose weights are missing again, from the same seeds; what is known of them is told anew."""

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
        retrain(state, "retrain those whose weights are missing", kind, wanted, notes)
        state.again += notes


def lost(state: "State") -> dict[type[Final], dict[str, Final]]:
    """Of each kind of retraining those whose weights are not there any more, by key; kinds without any are left out."""
    found = {}
    for kind in (Final, Again):
        trained = {key: n for key, n in state.study.records(kind).items() if n.accuracy is not None}
        if gone := {key: n for key, n in trained.items() if not state.weights(key).is_file()}:
            found[kind] = gone
    return found
