"""Retrain networks with the final recipe and save their weights; all with the same teacher, if any."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from evaluators.weights import GENOTYPE, WEIGHTS
from nas.budget.estimate import Estimate
from nas.executors.job import Job
from nas.pipeline.job_sources import Retrainings
from nas.records import Final, Teacher
from nas.seeds import training_seed
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype, read_genotype

if TYPE_CHECKING:
    from nas.pipeline.state import State


class Wanted(NamedTuple):
    """A network to retrain; its `origin` is search, random, or anchor:NAME."""

    id: str
    origin: str
    genotype: Genotype


def retrain(
    state: "State",
    title: str,
    kind: type[Final],
    wanted: Mapping[str, Wanted],
    lost: Mapping[str, Final] = MappingProxyType({}),
) -> None:
    """Train the `wanted` networks, by key; results are notes of `kind`. Those with `lost` weights are trained again."""
    done = state.study.records(kind).keys() - lost.keys()
    jobs = {key: _job(state, key, what) for key, what in wanted.items() if key not in done}
    state.view.phase(title, len(wanted), len(wanted) - len(jobs))
    if not jobs:
        return
    teacher = _teacher(state)
    estimates = {key: _estimate(lost[key]) if key in lost else state.estimate(wanted[key].genotype) for key in jobs}
    order = sorted(jobs, key=lambda key: -estimates[key].macs)  # longest first, so that workers finish together
    todo = [replace(jobs[key], teacher=teacher) for key in order]
    begun = {key: _initial_note(kind, jobs[key], estimates[key]) for key in order}
    state.train(Retrainings(todo, begun, state.study, state.view, state.keep_time), kind.KIND)


def _job(state: "State", key: str, what: Wanted) -> Job:
    seed = training_seed(state.config.seed, what.genotype, key.replace(what.id, "final"))
    return Job(key, what.origin, what.genotype.text, state.resolved.final_recipe, seed, keep=state.weights(key))


def _teacher(state: "State") -> Path | None:
    """Folder of the teacher, if any; trains it first if it has no weights."""
    name = state.config.distill
    if not name:
        return None
    folder = state.run.teacher
    if not (folder / WEIGHTS).is_file():
        genotype = read_genotype(folder / GENOTYPE)
        seed = training_seed(state.config.seed, genotype, "teacher")
        job = Job(genotype.id, f"teacher {name}", genotype.text, state.resolved.final_recipe, seed, folder / WEIGHTS)
        state.view.phase("train the teacher", 1)
        begun = {job.id: _initial_note(Teacher, job, state.estimate(genotype))}
        state.train(Retrainings([job], begun, state.study, state.view, state.keep_time), Teacher.KIND)
        if reason := state.study.records(Teacher)[job.id].reason:
            raise InputError(f"the teacher {name} could not be trained: {reason}")
    return folder


def _initial_note(kind: type[Final], job: Job, estimate: Estimate) -> Final:
    """The note of a retraining before it is run."""
    return kind(origin=job.label, genotype=job.genotype, seed=job.seed, seconds=0.0, **estimate.as_json())


def _estimate(known: Final) -> Estimate:
    """The estimate stored in a retraining's note."""
    return Estimate.from_json(vars(known))
