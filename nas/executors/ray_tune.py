"""Jobs on Ray Tune, on this machine or an existing cluster. The only module that knows Ray."""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():  # Ray reads these while it is imported
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from evaluators.training.batches import Pictures  # noqa: E402
from evaluators.training.loop import (  # noqa: E402
    Epoch,
    TrainingFailed,
    epochs,
    seeded_network,
    training_device,
)
from nas.jobs import Job, Progress, Setting, Source  # noqa: E402
from search_spaces.errors import InputError  # noqa: E402
from search_spaces.genotype import Genotype  # noqa: E402


class Worker(tune.Trainable):  # type: ignore[misc]
    """Trains one job after another in one process; the pictures are read from Ray's object store and never copied."""

    def setup(self, config: dict[str, Any], setting: Setting | None = None) -> None:
        import torch

        assert setting is not None
        torch.set_num_threads(setting.threads)
        self._setting, self._device = setting, training_device()
        mean, std = setting.dataset.mean_std()
        self._train, self._validation = (
            Pictures(split.images, split.labels, mean, std, self._device)
            for split in (setting.dataset.train, setting.dataset.validation)
        )
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._job: Job = new_config["job"]
        self._epochs: Iterator[Epoch] | None = None
        return True

    def step(self) -> dict[str, Any]:
        try:
            if self._epochs is None:
                self._epochs = self._start()
            epoch = next(self._epochs)
            last = epoch.number == self._job.epochs
            if last and self._job.keep:
                self._save(self._job.keep)
        except OSError as error:  # a full disk is no fault of the candidate
            return {"failure": f"{error.strerror or error}: {error.filename}", "fatal": True, "done": True}
        except TrainingFailed as error:
            return {"failure": str(error), "done": True}
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a candidate fails that candidate, with its reason)
            return {"failure": f"{type(error).__name__}: {error}", "done": True}
        return {**vars(epoch), "done": last}

    def _start(self) -> Iterator[Epoch]:
        job, setting = self._job, self._setting
        self._network, generator = seeded_network(Genotype.parse(job.genotype), setting.task, job.seed, self._device)
        return epochs(self._network, self._train, self._validation, setting.recipe, job.epochs, generator, job.share)

    def _save(self, path: Path) -> None:
        from safetensors.torch import save

        part = path.with_suffix(".part")
        part.write_bytes(save({k: v.contiguous() for k, v in self._network.state_dict().items()}))
        part.replace(path)


class _Unsaved:
    """Left out of the copies that Tune pickles of its parts: the journal holds a search's state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Asker(_Unsaved, Searcher):  # type: ignore[misc]
    """Ray Tune's side of a Source: suggests its next job, and tells it of epochs and ends.

    What the source raises ends the session: it is kept in `error`, and nothing more is suggested.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._source = source
        self._jobs: dict[str, Job] = {}
        self._heard: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self.error: InputError | None = None

    def suggest(self, trial_id: str) -> Any:
        job = None if self.error else self._told(self._source.next)
        if job is None:
            return Searcher.FINISHED
        self._jobs[trial_id] = job
        return {"job": job}

    def result(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Passes an epoch on, once; True when the job is to be stopped."""
        if result.get("fatal"):
            self.error = InputError(f"{result['failure']}; what was learnt until now is kept, `nas resume` goes on")
        elif "failure" in result:
            self._failures[trial_id] = result["failure"]
        elif self._heard.get(trial_id, 0) < result["number"]:
            self._heard[trial_id] = result["number"]
            progress = Progress(result["number"], result["loss"], result["accuracy"], result["seconds"])
            return bool(self._told(lambda: self._source.progress(self._jobs[trial_id], progress)))
        return self.error is not None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._jobs.pop(trial_id, None)
        if job is None or self.error:
            return
        if error or trial_id in self._failures:
            reason = self._failures.pop(trial_id, "the worker was lost")
            self._told(lambda: self._source.failed(job, reason))
        else:
            self._told(lambda: self._source.done(job))

    def _told(self, tell: Callable[[], Any]) -> Any:
        try:
            return tell()
        except InputError as error:
            self.error = error
            return None

    def save(self, checkpoint_path: str) -> None:
        """The journal holds the state of a search; Ray's copy of it is not kept."""

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a search is resumed from its journal")


class _Stopper(_Unsaved, FIFOScheduler):  # type: ignore[misc]
    """Early stopping: after each epoch the source decides, so that its decisions outlive this process."""

    def __init__(self, asker: _Asker) -> None:
        super().__init__()
        self._asker = asker

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        # Tune skips the scheduler for the result that ends a trial by itself; _Reporter sees that one.
        return str(TrialScheduler.STOP if self._asker.result(trial.trial_id, result) else TrialScheduler.CONTINUE)


class _Reporter(_Unsaved, tune.Callback):  # type: ignore[misc]
    """Passes on what the scheduler does not see: the result that ends a trial by itself."""

    def __init__(self, asker: _Asker) -> None:
        self._asker = asker

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if result.get("done"):
            self._asker.result(trial.trial_id, result)


class RayTuneExecutor:
    """Trains with `workers` processes at once; `address` joins an existing Ray cluster instead of starting one here."""

    def __init__(self, setting: Setting, workers: int, address: str | None = None) -> None:
        self._workers = workers
        self._folder = Path(tempfile.mkdtemp(prefix="nas-ray-"))
        _start(workers, address, _size(setting))
        gpus = ray.cluster_resources().get("GPU", 0)
        resources = {"cpu": setting.threads if address else 1, **({"gpu": gpus / workers} if gpus else {})}
        self._trainable = tune.with_resources(tune.with_parameters(Worker, setting=setting), resources)

    def run(self, source: Source) -> None:
        asker = _Asker(source)
        tuner = tune.Tuner(
            self._trainable,
            tune_config=tune.TuneConfig(
                search_alg=asker,
                scheduler=_Stopper(asker),
                num_samples=-1,
                max_concurrent_trials=self._workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=str(self._folder),
                callbacks=[_Reporter(asker)],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuner.fit()
        if asker.error:
            raise asker.error

    def close(self) -> None:
        ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


def _start(workers: int, address: str | None, store_bytes: int) -> None:
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=store_bytes,
                **quiet,
            )
    except (ConnectionError, ValueError) as error:
        if not address:
            raise
        raise InputError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from None


def _size(setting: Setting) -> int:
    """Bytes for the object store: the pictures, and room for Tune's own messages."""
    splits = (setting.dataset.train, setting.dataset.validation, setting.dataset.test)
    return 2 * sum(split.images.nbytes for split in splits) + 256 * 2**20
