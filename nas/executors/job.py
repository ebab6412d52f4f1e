"""Job, Source and Executor: the interface between a search and what runs its trainings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from evaluators import quantisers
from evaluators.data import Dataset
from evaluators.inheritance.donor import Donor
from evaluators.precision import Precision
from evaluators.training.recipe import Metric, Recipe
from search_spaces.errors import InputError
from search_spaces.task import Input

if TYPE_CHECKING:
    import torch

    from evaluators.quantise import Quantisation
    from evaluators.training.batches import Batches

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Job:
    """A network to train: genotype text, with its input, recipe and seed.

    With `probe_only` it inherits weights and is probed, but not trained. `teacher` is the teacher's folder, `keep` the file
    for the trained weights, if any; both are absolute paths on the search's machine, not for use by workers.
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
    """Settings shared by all jobs of a run.

    Networks inherit from `donor`, if any. `mean` and `std` normalise each channel of pixels in 0..1. Accuracies are by
    `metric`, of networks deployed in `precision`, in int8 by `quantiser`. `threads` is the number of threads per worker on this
    machine.
    """

    dataset: Dataset
    mean: tuple[float, ...]
    std: tuple[float, ...]
    metric: Metric
    threads: int
    donor: Donor | None = None
    precision: Precision = "float32"
    quantiser: str = quantisers.DEFAULT

    def quantisation(self, input: Input) -> "Quantisation | None":
        """How networks with this input are quantised, on training images; None in float32."""
        import torch

        from evaluators.quantise import Quantisation
        from evaluators.training.deployed import calibration_images

        if self.precision == "float32":
            return None
        return Quantisation(calibration_images(self.images("train", input, torch.device("cpu"))), self.quantiser)

    def images(self, part: Part, input: Input, device: "torch.device") -> "Batches":
        """A part of the data set, preprocessed for a network with this input."""
        from evaluators.training.batches import Batches

        return Batches.of(getattr(self.dataset, part), self.dataset.preprocessing(input, self.mean, self.std), device)


@dataclass(frozen=True)
class EpochReport:
    """Report after an epoch: number (from 1), mean loss, validation accuracy (0..1), seconds, mean learning rate.

    Epoch 0 is before training: `inherited` is the share of weights taken from the donor, `accuracy` the linear probe's.
    """

    epoch: int
    loss: float
    accuracy: float
    seconds: float
    inherited: float | None = None
    learning_rate: float = 0.0

    @classmethod
    def of(cls, result: dict[str, Any]) -> "EpochReport":
        """From the result of a step of `Trainer`."""
        rest = {name: result[name] for name in ("inherited", "learning_rate") if name in result}
        return cls(result["number"], result["loss"], result["accuracy"], result["seconds"], **rest)


class Source(Protocol):
    """Provides jobs to workers and receives their results."""

    def next(self) -> Job | None:
        """The next job, or None if there are no more."""

    def progress(self, job: Job, progress: EpochReport) -> bool:
        """Called after each epoch; True stops the job early."""

    def done(self, job: Job) -> None:
        """Called when a job finished or was stopped early."""

    def failed(self, job: Job, reason: str) -> None:
        """Called when a job failed."""


class Executor(Protocol):
    def run(self, source: Source) -> None:
        """Run the source's jobs until there are no more. KeyboardInterrupt is re-raised after a clean stop."""

    def close(self) -> None:
        """Release workers and memory."""


def resumable(reason: str) -> InputError:
    """The error that ends a session for a reason that is no network's fault."""
    return InputError(f"{reason}; all results so far are kept, continue with `nas resume`")
