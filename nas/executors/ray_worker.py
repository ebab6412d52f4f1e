"""Worker: the Ray Tune trainable, a process that runs one job after another."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.executors import ray_session  # noqa: F401  # before Ray, for it sets Ray's environment

import ray  # isort: skip
from ray import tune  # isort: skip

from nas.executors.job import Setting
from nas.executors.trainer import Trainer


class Worker(tune.Trainable):  # type: ignore[misc]
    """Runs one job after another in one process; images are read from Ray's object store without copying.

    It may run on another machine than the search: donor and images are part of the setting, the teacher comes through Ray's
    object store, weights are returned with the last result, and only streamed images are read from paths.
    """

    def setup(self, config: dict[str, Any], setting: Setting | None = None) -> None:
        assert setting is not None
        self._trainer = Trainer(setting, self._fetched)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._teacher_files = new_config["teacher"]
        self._trainer.start(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        return self._trainer.step()

    @contextlib.contextmanager
    def _fetched(self, _: Path) -> Iterator[Path]:
        """The folder of the job's teacher."""
        with tempfile.TemporaryDirectory(prefix="nas-teacher-") as folder:
            for file, content in ray.get(self._teacher_files).items():
                Path(folder, file).write_bytes(content)
            yield Path(folder)
