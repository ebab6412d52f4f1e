"""Worker: the Ray Tune trainable, a process that runs one job after another."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.executors import ray_session  # noqa: F401  # before Ray, for it sets Ray's environment

import ray  # isort: skip
from ray import tune  # isort: skip

from evaluators.data._unreadable import UnreadableImage
from evaluators.training.distill import load_teacher
from evaluators.training.finetune import Beginnings
from evaluators.training.loop import TrainingFailed, epochs, seeded_network, training_device
from evaluators.weights import packed
from nas.executors.job import Job, Setting
from search_spaces.errors import os_reason
from search_spaces.genotype import Genotype
from search_spaces.task import Task


class Worker(tune.Trainable):  # type: ignore[misc]
    """Runs one job after another in one process; images are read from Ray's object store without copying.

    It may run on another machine than the search: donor and images are part of the setting, the teacher comes through Ray's
    object store, weights are returned with the last result, and only streamed images are read from paths.
    """

    def setup(self, config: dict[str, Any], setting: Setting | None = None) -> None:
        import torch

        assert setting is not None
        torch.set_num_threads(setting.threads)
        self._setting, self._device = setting, training_device()
        self._teachers: dict[Path, Any] = {}
        self._beginnings = Beginnings(setting.donor, setting.metric) if setting.donor else None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._job: Job = new_config["job"]
        self._teacher_files = new_config["teacher"]
        self._epochs: Iterator[dict[str, Any]] | None = None
        return True

    def step(self) -> dict[str, Any]:
        try:
            if self._epochs is None:
                self._epochs = self._start()
            epoch = next(self._epochs)
            last = self._job.probe_only or epoch["number"] == self._job.recipe.epochs
            weights = packed(self._network) if last and self._job.keep else None
        except (OSError, UnreadableImage) as error:  # not the candidate's fault
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            return {"failure": reason, "fatal": True, "done": True}
        except TrainingFailed as error:
            return {"failure": str(error), "done": True}
        except Exception as error:  # noqa: BLE001 (any error fails this candidate only)
            return {"failure": f"{type(error).__name__}: {error}", "done": True}
        return {**epoch, "weights": weights, "done": last}

    def _start(self) -> Iterator[dict[str, Any]]:
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
        """Fetch and load the teacher, once per worker."""
        setting = self._setting
        if name not in self._teachers:
            with tempfile.TemporaryDirectory(prefix="nas-teacher-") as folder:
                for file, content in ray.get(self._teacher_files).items():
                    Path(folder, file).write_bytes(content)
                self._teachers[name] = load_teacher(Path(folder), task, self._device, (setting.mean, setting.std))
        return self._teachers[name]
