"""The test set, seen once, by the files that would be exported: of the winner, the best of the search, and the anchors.

With a second objective for all finalists: each may be the best for a budget of its own (`nas best`). Weights that were trained
anew are tested anew.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluators.processors import processors
from evaluators.weights import load_network
from nas.pipeline.ranking import best_found, over_seeds
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "further_seeds", True


def run(state: "State") -> None:
    done, trained = state.study.notes("test"), _tested(state)
    todo = [key for key in trained if key not in done or key in state.again]
    state.view.phase("test", len(todo))
    for key in todo:
        _test(state, key, Genotype.parse(trained[key]["genotype"]))
        state.view.step()


def _tested(state: "State") -> dict[str, dict[str, Any]]:
    """The records of retrainings that are tested, by key."""
    finals, again, measured = (state.study.notes(kind) for kind in ("final", "again", "measured"))
    means = over_seeds(finals, again)
    leaders = [best_found(means, measured, state.budget, origin) for origin in ("search", "random")]
    leaders += [i for i, final in finals.items() if state.config.cost and final["origin"] == "search"]
    anchors = [i for i, final in finals.items() if final["origin"].startswith("anchor:")]
    chosen = [i for i in [*anchors, *leaders] if i and "accuracy" in means[i]]
    trained = {i: finals[i] for i in chosen if "accuracy" in finals[i]}
    return trained | {key: r for key, r in again.items() if key.partition("/")[0] in chosen and "accuracy" in r}


def _test(state: "State", key: str, genotype: Genotype) -> None:
    import torch

    from evaluators.training.deployed import deployed_scores

    task = state.task.of(genotype)
    images = state.setting.images("test", task.input, torch.device("cpu"))
    scores = asdict(deployed_scores(load_network(genotype, task, state.weights(key)), task, images, processors()))
    state.study.note(f"test:{key}", {"accuracy": scores[state.config.metric], "pictures": len(images), **scores})
