"""Simulated: an executor that trains nothing, on a virtual clock, with many workers, stragglers and failures."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from nas.executors.job import EpochReport, Job, Source


@dataclass(frozen=True)
class Course:
    """How a training goes: seconds and accuracy of each epoch, and the epoch in which it fails, counted from 1."""

    seconds: Sequence[float]
    accuracies: Sequence[float]
    fails_in: int | None = None


@dataclass
class Simulated:
    """Executor of a search whose jobs go as `course` says.

    The search itself (proposals, results, journal) does one thing at a time in this process, as with Ray Tune, and takes as
    long on the virtual clock as on `clock`, by default processor time. Seconds on the virtual clock: `now`; `trained` and
    `waited`, sums over workers of training, and of waiting for a proposal or for what follows from a report. `asked` and `told`
    are the seconds of each proposal and of each report.
    """

    workers: int
    course: Callable[[Job], Course]
    clock: Callable[[], float] = time.process_time
    now: float = 0.0
    trained: float = 0.0
    waited: float = 0.0
    asked: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)

    def run(self, source: Source) -> None:
        self._source, self._agenda, self._tickets, self._without = source, [], count(), 0
        for _ in range(self.workers):
            self._at(self.now, self._ask)
        while self._agenda:
            due, _, act = heappop(self._agenda)
            self.now = max(self.now, due)
            act(due)

    def close(self) -> None:
        """No-op: there is nothing to release."""

    @property
    def idle(self) -> float:
        """Share of the time between a worker's first and last training in which it waited."""
        return self.waited / (self.waited + self.trained)

    def _at(self, due: float, act: Callable[[float], None]) -> None:
        heappush(self._agenda, (due, next(self._tickets), act))

    def _timed(self, seconds: list[float], call: Callable[..., Any], *arguments: Any) -> Any:
        before = self.clock()
        found = call(*arguments)
        seconds.append(self.clock() - before)
        self.now += seconds[-1]
        return found

    def _ask(self, free_since: float) -> None:
        """Give a worker the next job; without one it asks again when a job has ended."""
        job = self._timed(self.asked, self._source.next)
        if job is None:
            self._without += 1
            self.asked.pop()
            return
        self.waited += self.now - free_since
        self._train(job, self.course(job), 1)

    def _train(self, job: Job, course: Course, epoch: int) -> None:
        self._at(self.now + course.seconds[epoch - 1], lambda due: self._report(due, job, course, epoch))

    def _report(self, due: float, job: Job, course: Course, epoch: int) -> None:
        seconds, accuracy = course.seconds[epoch - 1], course.accuracies[epoch - 1]
        self.trained += seconds
        if course.fails_in == epoch:
            self._timed(self.told, self._source.failed, job, "simulated failure")
        else:
            stop = self._timed(self.told, self._source.progress, job, EpochReport(epoch, 1.0, accuracy, seconds))
            if not stop and epoch < len(course.seconds):
                self.waited += self.now - due
                self._train(job, course, epoch + 1)
                return
            self._timed(self.told, self._source.done, job)
        for _ in range(self._without):
            self._at(self.now, self._ask)
        self._without = 0
        self._at(due, self._ask)


def durations(recorded: Sequence[float], shortest: float, longest: float) -> Callable[[random.Random], float]:
    """Draws seconds of a training: as spread as recorded ones, between two limits; one in fifty takes three times as long."""
    low, high = min(recorded), max(recorded)

    def drawn(rng: random.Random) -> float:
        share = (rng.choice(recorded) - low) / (high - low)
        return (shortest + (longest - shortest) * share) * (3.0 if rng.random() < 0.02 else 1.0)

    return drawn
