"""Evaluate the exported winner, the best of the search and the anchors on the test set, once.

With a second objective, also all finalists: each may be the best for another budget (`nas best`). Networks that were trained
again are tested again.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluators.processors import processors
from evaluators.weights import load_network
from nas.pipeline.ranking import best_found, over_seeds
from nas.records import Again, Final, Measured, Tested
from search_spaces.genotype import Genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


AFTER, MENDS = "further_seeds", True
MOST_CLASSES, MOST_MISTAKES = 100, 12  # of a recorded confusion matrix; recorded mistakes


def run(state: "State") -> None:
    done, trained = state.study.records(Tested), _tested(state)
    todo = [key for key in trained if key not in done or key in state.again]
    state.view.phase("test", len(todo))
    for key in todo:
        _test(state, key, Genotype.parse(trained[key].genotype))
        state.view.step()


def _tested(state: "State") -> dict[str, Final]:
    """Records of the retrainings to test, by key."""
    finals, again = state.study.records(Final), state.study.records(Again)
    means, measured = over_seeds(finals, again), state.study.records(Measured)
    leaders = [best_found(means, measured, state.budget, origin) for origin in ("search", "random")]
    leaders += [i for i, final in finals.items() if state.config.cost and final.origin == "search"]
    anchors = [i for i, final in finals.items() if final.anchor]
    chosen = [i for i in [*anchors, *leaders] if i]
    wanted = {i: finals[i] for i in chosen} | {key: r for key, r in again.items() if key.partition("/")[0] in chosen}
    return {key: record for key, record in wanted.items() if record.accuracy is not None}


def _test(state: "State", key: str, genotype: Genotype) -> None:
    import torch

    from evaluators.training.deployed import deployed

    task, metric = state.task.of(genotype), state.config.metric
    images = state.setting.images("test", task.input, torch.device("cpu"))
    network, quantisation = load_network(genotype, task, state.weights(key)), state.setting.quantisation(task.input)
    plain = deployed(network, task, images, processors())
    found, rest = plain, dict[str, Any]()
    if quantisation is not None:
        found = deployed(network, task, images, processors(), quantisation=quantisation)
        rest = {"float_accuracy": asdict(plain.scores)[metric], "float_bytes": plain.bytes}
        if state.config.measure and key == genotype.id:
            rest |= {"float_p50_ms": state.timer.float_p50_ms(network, task)}
    scores = asdict(found.scores)
    rest["mistakes"] = tuple(found.worst(MOST_MISTAKES))
    if task.classes <= MOST_CLASSES:
        rest["confusion"] = tuple(map(tuple, found.counts.tolist()))
    state.study.note(Tested(accuracy=scores[metric], images=len(images), bytes=found.bytes, **scores, **rest), key)
