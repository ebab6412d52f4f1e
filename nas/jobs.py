"""Job and Source: what a search wants trained, and what it wants to hear of it; executors carry jobs out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evaluators.data import Dataset
from evaluators.training.recipe import Recipe
from search_spaces.task import Task


@dataclass(frozen=True)
class Job:
    """A network to train: its genotype's text, by which recipe, from which seed.

    `teacher` is the folder of a network that teaches it; weights go to `keep`, if anywhere. Both are absolute paths on the
    machine of the search, and not meant for workers.
    """

    id: str
    label: str
    genotype: str
    recipe: Recipe
    seed: int
    keep: Path | None = None
    teacher: Path | None = None


@dataclass(frozen=True)
class Setting:
    """What all jobs of a run share; `threads` are those of a worker on this machine."""

    task: Task
    dataset: Dataset
    threads: int


@dataclass(frozen=True)
class Progress:
    """After an epoch: its number from 1, mean loss, validation accuracy (0..1), seconds."""

    epoch: int
    loss: float
    accuracy: float
    seconds: float


class Source(Protocol):
    """Gives out jobs, one for each free worker, and is told how they go."""

    def next(self) -> Job | None:
        """The next job, or None when there is no more."""

    def progress(self, job: Job, progress: Progress) -> bool:
        """Called after each epoch; True stops the job early."""

    def done(self, job: Job) -> None:
        """The job ran to its end or was stopped early."""

    def failed(self, job: Job, reason: str) -> None:
        """The job ended with an error."""


class Executor(Protocol):
    def run(self, source: Source) -> None:
        """Carries out the source's jobs until it has no more. KeyboardInterrupt passes through after a clean stop."""

    def close(self) -> None:
        """Gives workers and memory back."""
