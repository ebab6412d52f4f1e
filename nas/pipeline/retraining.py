"""Retrainings: longer ones, whose weights are kept; by the same recipe for all, taught by the same network if there is one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluators.weights import GENOTYPE, WEIGHTS
from nas.budget.estimate import Estimate
from nas.executors.job import Job
from nas.pipeline.job_sources import Retrainings
from nas.seeds import training_seed
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, read_genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


class Wanted(NamedTuple):
    """A network that is to be retrained; its `origin` is search, random, or anchor:NAME."""

    id: str
    origin: str
    genotype: Genotype


def retrain(
    state: "State",
    title: str,
    kind: str,
    wanted: Mapping[str, Wanted],
    lost: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> None:
    """Trains what is wanted, by key; the results are notes of a kind. Those that are `lost` are done again."""
    done = state.study.notes(kind).keys() - lost.keys()
    jobs = {key: _job(state, key, what) for key, what in wanted.items() if key not in done}
    state.view.phase(title, len(wanted), len(wanted) - len(jobs))
    if not jobs:
        return
    teacher = _teacher(state)
    figures = {key: _figures_of(lost[key]) if key in lost else _figures(state, wanted[key].genotype) for key in jobs}
    order = sorted(jobs, key=lambda key: -figures[key]["macs"])  # the longest first, so that workers end together
    todo = [replace(jobs[key], teacher=teacher) for key in order]
    state.train(Retrainings(todo, figures, state.study, state.view, state.keep_time, kind=kind))


def _job(state: "State", key: str, what: Wanted) -> Job:
    seed = training_seed(state.config.seed, what.genotype, key.replace(what.id, "final"))
    return Job(key, what.origin, what.genotype.text, state.resolved.final_recipe, seed, keep=state.weights(key))


def _teacher(state: "State") -> Path | None:
    """The folder of the network that teaches, if one was asked for; trained first where only its genotype is known."""
    name = state.config.distill
    if not name:
        return None
    folder = state.run.teacher
    if not (folder / WEIGHTS).is_file():
        genotype = read_genotype(folder / GENOTYPE)
        seed = training_seed(state.config.seed, genotype, "teacher")
        job = Job(genotype.id, f"teacher {name}", genotype.text, state.resolved.final_recipe, seed, folder / WEIGHTS)
        state.view.phase("train the teacher", 1)
        figures = {job.id: _figures(state, genotype)}
        state.train(Retrainings([job], figures, state.study, state.view, state.keep_time, kind="teacher"))
        if reason := state.study.notes("teacher")[job.id].get("reason"):
            raise InputError(f"the teacher {name} could not be trained: {reason}")
    return folder


def _figures(state: "State", genotype: Genotype) -> dict[str, Any]:
    """Estimates for the record; those of an anchor with an operation that the device profile lacks are null."""
    return state.estimate(genotype).as_json()


def _figures_of(note: Mapping[str, Any]) -> dict[str, Any]:
    """The estimates that a retraining's note keeps."""
    return Estimate.from_json(note).as_json()
