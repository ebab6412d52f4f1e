"""Trainer: runs jobs one after another in its process, a step an epoch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from evaluators.data._unreadable import UnreadableImage
from evaluators.training.distill import load_teacher
from evaluators.training.finetune import Beginnings
from evaluators.training.loop import TrainingFailed, epochs, seeded_network, training_device
from evaluators.weights import packed
from nas.executors.job import Job, Setting
from search_spaces.errors import InputError, os_reason
from search_spaces.genotype import Genotype
from search_spaces.task import Task


class Trainer:
    """Runs one job after another with the setting's threads; `fetch` makes a teacher's folder readable in this process."""

    def __init__(self, setting: Setting, fetch: Callable[[Path], AbstractContextManager[Path]] = nullcontext) -> None:
        torch.set_num_threads(setting.threads)
        self._setting, self._fetch, self._device = setting, fetch, training_device()
        self._teachers: dict[Path, Any] = {}
        self._beginnings = Beginnings(setting.donor, setting.metric) if setting.donor else None

    def start(self, job: Job) -> None:
        """Make a job the one that `step` works on; nothing is done yet."""
        self._job = job
        self._epochs: Iterator[dict[str, Any]] | None = None

    def step(self) -> dict[str, Any]:
        """Result of the job's next epoch: fields of EpochReport, `done`, and with the last one the `weights` to keep, if any.

        A job that fails has a `failure` instead, which is `fatal` if it is not the network's fault.
        """
        try:
            if self._epochs is None:
                self._epochs = self._begin()
            epoch = next(self._epochs)
            last = self._job.probe_only or epoch["number"] == self._job.recipe.epochs
            weights = packed(self._network) if last and self._job.keep else None
        except (OSError, UnreadableImage, _UnreadableTeacher) as error:  # not the candidate's fault
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            return {"failure": reason, "fatal": True, "done": True}
        except TrainingFailed as error:
            return {"failure": str(error), "done": True}
        except Exception as error:  # noqa: BLE001 (any error fails this candidate only)
            return {"failure": f"{type(error).__name__}: {error}", "done": True}
        return {**epoch, "weights": weights, "done": last}

    def _begin(self) -> Iterator[dict[str, Any]]:
        """Results of the job: epoch 0 (inheritance and probe) if there is a donor, then each epoch."""
        job, setting, genotype = self._job, self._setting, Genotype.parse(self._job.genotype)
        task = genotype.task(len(setting.dataset.classes))
        train, validation = (setting.images(part, task.input, self._device) for part in ("train", "validation"))
        self._network, generator = seeded_network(genotype, task, job.seed, self._device)
        ready = 0
        if self._beginnings:
            found = self._beginnings.begin(self._network, train, job.seed)
            yield {"number": 0, "loss": 0.0, "accuracy": found.accuracy, "seconds": found.seconds, "inherited": found.share}
            ready = found.ready
        teacher = self._teacher(job.teacher, task) if job.teacher else None
        parts = train, validation
        ways: dict[str, Any] = {"metric": setting.metric, "ready": ready, "quantisation": setting.quantisation(task.input)}
        ways |= {"recovers": job.keep is not None}
        for epoch in epochs(self._network, *parts, job.recipe, generator, teacher=teacher, **ways):
            yield {name: vars(epoch)[name] for name in ("number", "loss", "accuracy", "seconds", "learning_rate")}

    def _teacher(self, name: Path, task: Task) -> Any:
        """Load the teacher, once."""
        setting = self._setting
        if name not in self._teachers:
            with self._fetch(name) as folder:
                try:
                    self._teachers[name] = load_teacher(folder, task, self._device, (setting.mean, setting.std))
                except InputError as error:  # which names the fetched copy, if it is one
                    raise _UnreadableTeacher(str(error).replace(str(folder), str(name))) from None
        return self._teachers[name]


class _UnreadableTeacher(Exception):
    """Says what is wrong with the teacher's files."""
