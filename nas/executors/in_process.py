"""InProcessExecutor: runs jobs one after another in this process, without Ray."""

from pathlib import Path

import torch

from evaluators.weights import write_weights
from nas.executors.job import EpochReport, Job, Setting, Source, resumable
from nas.executors.trainer import Trainer
from search_spaces.errors import os_reason


class InProcessExecutor:
    """Trains as a single worker of `RayTuneExecutor` does, to the same results; nothing outlives this process."""

    def __init__(self, setting: Setting) -> None:
        self._threads = torch.get_num_threads()
        self._trainer = Trainer(setting)

    def run(self, source: Source) -> None:
        while job := source.next():
            self._run(job, source)

    def close(self) -> None:
        """Give torch back the threads that it had."""
        torch.set_num_threads(self._threads)

    def _run(self, job: Job, source: Source) -> None:
        """Train one network, and report its epochs and its end; raises InputError if the fault is not the network's."""
        self._trainer.start(job)
        ended = False
        while not ended:
            result = self._trainer.step()
            if result.get("fatal"):
                raise resumable(result["failure"])
            if "failure" in result:
                source.failed(job, result["failure"])
                return
            _keep(result["weights"], job.keep)
            ended = source.progress(job, EpochReport.of(result)) or result["done"]
        source.done(job)


def _keep(weights: bytes | None, path: Path | None) -> None:
    if weights is None or path is None:
        return
    try:
        write_weights(weights, path)
    except OSError as error:
        raise resumable(os_reason(error)) from None
