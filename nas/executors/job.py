"""Job and Source: what a search wants trained, and what it wants to hear of it; executors carry jobs out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from evaluators.data import Dataset
from evaluators.inheritance.donor import Donor
from evaluators.training.recipe import Metric, Recipe
from search_spaces.task import Input

if TYPE_CHECKING:
    import torch

    from evaluators.training.batches import Batches

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Job:
    """A network to train: its genotype's text, which names its input, by which recipe, from which seed.

    With `probe_only` it inherits and is probed, and not trained. `teacher` is the folder of a network that teaches it; weights
    go to `keep`, if anywhere. Both are absolute paths on the machine of the search, and not meant for workers.
    """

    id: str
    label: str
    genotype: str
    recipe: Recipe
    seed: int
    keep: Path | None = None
    teacher: Path | None = None
    probe_only: bool = False


@dataclass(frozen=True)
class Setting:
    """What all jobs of a run share.

    Networks inherit from `donor`, if there is one. `mean` and `std` normalise each channel of pixels in 0..1. Accuracies are
    by `metric`. `threads` are those of a worker on this machine.
    """

    dataset: Dataset
    mean: tuple[float, ...]
    std: tuple[float, ...]
    metric: Metric
    threads: int
    donor: Donor | None = None

    def images(self, part: Part, input: Input, device: "torch.device") -> "Batches":
        """A part of the data set as a network with this input sees it."""
        from evaluators.training.batches import Batches

        return Batches.of(getattr(self.dataset, part), self.dataset.preprocessing(input, self.mean, self.std), device)


@dataclass(frozen=True)
class EpochReport:
    """After an epoch: its number from 1, mean loss, validation accuracy (0..1), seconds.

    Epoch 0 is what a network is before its first: `inherited` is the share of its weights that it has from the donor,
    `accuracy` that of the linear probe on its features.
    """

    epoch: int
    loss: float
    accuracy: float
    seconds: float
    inherited: float | None = None


class Source(Protocol):
    """Gives out jobs, one for each free worker, and is told how they go."""

    def next(self) -> Job | None:
        """The next job, or None when there is no more."""

    def progress(self, job: Job, progress: EpochReport) -> bool:
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
