"""Simulated trainings: the search's own loop on a virtual clock, which the benchmark of long searches relies on."""

import random
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from made_up_search import View
from simulated import Course, Simulated, durations

from evaluators.training.recipe import load_recipe
from nas.executors.job import Job
from nas.pipeline.job_sources import Proposals
from nas.testing.samplers import study

RECIPE = replace(load_recipe("proxy"), epochs=2)


class _Fixed:
    """Jobs that are there already; a stop after the first epoch for those whose number is in `stopped`."""

    def __init__(self, jobs, stopped=()):
        self._jobs, self._stopped = [Job(str(i), "", "", RECIPE, 0) for i in range(jobs)], stopped
        self.log = []

    def next(self):
        return self._jobs.pop(0) if self._jobs else None

    def progress(self, job, progress):
        self.log.append((job.id, progress.epoch))
        return int(job.id) in self._stopped

    def done(self, job):
        self.log.append((job.id, "done"))

    def failed(self, job, reason):
        self.log.append((job.id, "failed"))


def _clock(step):
    ticks = count()
    return lambda: step * next(ticks)


def test_without_cost_of_the_search_no_worker_waits():
    source, executor = _Fixed(6), Simulated(3, lambda job: Course([10.0, 20.0], [0.1, 0.2]), clock=lambda: 0.0)
    executor.run(source)
    assert (executor.now, executor.trained, executor.waited, executor.idle) == (60.0, 180.0, 0.0, 0.0)
    assert sum(entry[1] == "done" for entry in source.log) == 6 and len(executor.asked) == 6


def test_workers_wait_for_a_search_that_does_one_thing_at_a_time():
    source, executor = _Fixed(3), Simulated(3, lambda job: Course([10.0], [0.1]), clock=_clock(1.0))
    executor.run(source)
    assert executor.waited == 1 + 2 + 3 and executor.asked == [1.0] * 3


def test_stopped_and_failed_trainings_end_early():
    source = _Fixed(3, stopped=[0])
    executor = Simulated(1, lambda job: Course([10.0] * 2, [0.1] * 2, 1 if job.id == "1" else None), clock=lambda: 0.0)
    executor.run(source)
    assert source.log == [("0", 1), ("0", "done"), ("1", "failed"), ("2", 1), ("2", 2), ("2", "done")]
    assert executor.now == 40.0


def test_durations_are_spread_as_recorded_ones_with_stragglers():
    drawn, rng = durations([2.0, 3.0, 6.0], 30.0, 90.0), random.Random(0)
    found = [drawn(rng) for _ in range(2000)]
    assert set(found) == {30.0, 45.0, 90.0, 135.0, 270.0}
    assert 20 < sum(seconds > 90 for seconds in found) < 60


@pytest.mark.parametrize("workers", [1, 40])
def test_a_search_with_many_workers_loses_nothing_and_repeats_nothing(tmp_path, workers):
    begun, rng, flying = study(tmp_path / "journal.log", "random"), random.Random(0), []

    def course(job):
        flying.append(len(begun.seen.running))
        return Course([rng.uniform(10, 30), rng.uniform(30, 60)], [rng.random(), rng.random()], rng.choice([None] * 9 + [2]))

    state = SimpleNamespace(
        view=View(), keep_time=lambda: None, config=SimpleNamespace(seed=0), resolved=SimpleNamespace(recipe=RECIPE)
    )
    Simulated(workers, course).run(Proposals(state, begun, 80))
    ended = [t for t in begun.trials() if t.outcome not in ("rejected", "repeated")]
    assert len(ended) == len({t.genotype.text for t in ended}) == 80 and max(flying) == workers
    assert {t.outcome for t in ended} == {"trained", "stopped", "failed"} and not begun.seen.running
