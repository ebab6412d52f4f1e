"""SupernetExecutor: scores candidates with a supernet in this process; it is trained once, then a candidate takes seconds."""

import math
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from evaluators.supernet.supernet import Supernet
from evaluators.training.loop import TrainingFailed, training_device
from evaluators.training.recipe import Recipe
from nas.executors.job import EpochReport, Setting, Source
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from nas.progress import Progress
    from nas.run.tensorboard import EventFiles


class SupernetExecutor:
    """Reports a single epoch per job, with the supernet's accuracy; genotypes outside the space fail.

    The constructor trains the supernet with `recipe`, saves it to the file `kept` after each epoch, and resumes from there;
    `events` get its epochs.
    """

    def __init__(
        self,
        setting: Setting,
        space: SearchSpace,
        recipe: Recipe,
        seed: int,
        *,
        kept: Path,
        view: "Progress",
        events: "EventFiles | None" = None,
    ) -> None:
        self._recipe, self._kept, self._view, self._events = recipe, kept, view, events
        device, task = training_device(), space.task(len(setting.dataset.classes))
        self._train, self._validation = (setting.images(part, task.input, device) for part in ("train", "validation"))
        self._supernet = Supernet(space, task, seed, device)
        if kept.is_file():
            self._supernet.load(kept)
        self._train_supernet()

    def run(self, source: Source) -> None:
        """Score jobs until there are no more."""
        while job := source.next():
            start, genotype = perf_counter(), Genotype.parse(job.genotype)
            try:
                self._supernet.space.encode(genotype)
            except InputError as error:
                source.failed(job, f"the supernet cannot score it: {error}")
                continue
            reached = self._supernet.score(genotype, self._train, self._validation, self._recipe)
            source.progress(job, EpochReport(1, math.nan, reached, perf_counter() - start))
            source.done(job)

    def close(self) -> None:
        """Close the event files."""
        if self._events:
            self._events.close()

    def _train_supernet(self) -> None:
        """Train the remaining epochs, saving after each."""
        total, trained = self._recipe.epochs, self._supernet.trained
        if trained == total:
            return
        self._view.phase("train the supernet", total, trained)
        try:
            for epoch in self._supernet.train(self._train, self._validation, self._recipe):
                if self._events:
                    self._events.epoch("supernet", epoch.number, epoch)
                self._supernet.save(self._kept)
                self._view.working(total - epoch.number)
                self._view.step(
                    f"supernet, epoch {epoch.number:>3}: loss {epoch.loss:.3f}, candidates' accuracy {epoch.accuracy:.2%}"
                )
        except TrainingFailed as error:
            raise InputError(f"the supernet cannot be trained with this recipe, try a lower learning rate: {error}") from None
        except OSError as error:
            reason = f"{error.strerror or error}: {self._kept}"
            raise InputError(f"{reason}; all results so far are kept, continue with `nas resume`") from None
