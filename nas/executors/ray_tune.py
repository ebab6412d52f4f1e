"""Jobs on Ray Tune, on this machine or an existing cluster."""

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.executors.ray_session import RaySession  # before Ray: it says in what environment that is imported

import ray  # isort: skip
from ray import cloudpickle, tune  # isort: skip
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # isort: skip
from ray.tune.search import Searcher  # isort: skip

from evaluators.data._unreadable import UnreadableImage
from evaluators.training.distill import load_teacher
from evaluators.training.finetune import Beginnings
from evaluators.training.loop import TrainingFailed, epochs, seeded_network, training_device
from evaluators.weights import GENOTYPE, NORMALISATION, WEIGHTS, packed, write_weights
from nas.executors.job import Job, Progress, Setting, Source
from nas.executors.sharing import share
from nas.signals import Lost
from search_spaces.errors import InputError, os_reason
from search_spaces.genotype import Genotype
from search_spaces.task import Task

RUNS = 3  # of a job whose worker is lost, before it counts as failed


class Worker(tune.Trainable):  # type: ignore[misc]
    """Trains one job after another in one process; images are read from Ray's object store and never copied.

    It may be on another machine than the search: the donor comes with the images, a teacher through Ray's object store, weights
    go back with the last result, and no path is read or written but those of images that are streamed.
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
        except (OSError, UnreadableImage) as error:  # no fault of the candidate
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            return {"failure": reason, "fatal": True, "done": True}
        except TrainingFailed as error:
            return {"failure": str(error), "done": True}
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a candidate fails that candidate, with its reason)
            return {"failure": f"{type(error).__name__}: {error}", "done": True}
        return {**epoch, "weights": weights, "done": last}

    def _start(self) -> Iterator[dict[str, Any]]:
        """What is told of the job: as epoch 0 what it inherits, where there is a donor, then each epoch."""
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
        for epoch in epochs(
            self._network, train, validation, job.recipe, generator, teacher=teacher, metric=setting.metric, ready=ready
        ):
            yield {name: vars(epoch)[name] for name in ("number", "loss", "accuracy", "seconds")}

    def _teacher(self, name: Path, task: Task) -> Any:
        """Fetched and loaded once a worker."""
        setting = self._setting
        if name not in self._teachers:
            with tempfile.TemporaryDirectory(prefix="nas-teacher-") as folder:
                for file, content in ray.get(self._teacher_files).items():
                    Path(folder, file).write_bytes(content)
                self._teachers[name] = load_teacher(Path(folder), task, self._device, (setting.mean, setting.std))
        return self._teachers[name]


class _Unsaved:
    """Left out of the copies that Tune pickles of its parts: the journal holds a search's state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Asker(_Unsaved, Searcher):  # type: ignore[misc]
    """Ray Tune's side of a Source: suggests its next job, and tells it of epochs and ends.

    A job whose worker is lost is suggested again, up to `RUNS` times in all; its seed makes it the same training, and
    epochs that were heard are not told twice. (Tune's own retries give up a job that was handed to a worker which had been
    lost while idle.) What the source raises ends the session: it is kept in `error`, and nothing more is suggested.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._source = source
        self._jobs: dict[str, Job] = {}
        self._again: list[Job] = []
        self._runs: Counter[str] = Counter()
        self._heard: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self._teachers: dict[Path, Any] = {}
        self._exhausted = False
        self.error: InputError | None = None

    def suggest(self, trial_id: str) -> Any:
        job = None if self.error else self._next()
        if job is None:  # what runs now may yet have to run again
            return None if self._jobs and not self.error else Searcher.FINISHED
        self._jobs[trial_id] = job
        self._runs[job.id] += 1
        return {"job": job, "teacher": self._teachers.get(job.teacher) if job.teacher else None}

    def _next(self) -> Job | None:
        if self._again:
            return self._again.pop(0)
        if self._exhausted:
            return None
        job = self._told(self._source.next)
        self._exhausted = job is None and not self._jobs  # one that runs may yet be replaced by another
        if job and job.teacher and not self._share_teacher(job.teacher):
            return None
        return job  # type: ignore[no-any-return]

    def _share_teacher(self, folder: Path) -> bool:
        """Puts its files into Ray's object store, once; False when they cannot be read."""
        try:
            if folder not in self._teachers:
                self._teachers[folder] = ray.put({file.name: file.read_bytes() for file in _teacher_files(folder)})
        except OSError as error:
            self.error = _unfinished(os_reason(error))
        return self.error is None

    def result(self, trial_id: str, result: dict[str, Any], weights: bytes | None = None) -> bool:
        """Passes an epoch on, once, after its weights are kept if there are any; True when the job is to be stopped."""
        job = self._jobs[trial_id]
        if weights is not None and job.keep:
            self._keep(weights, job.keep)
        if result.get("fatal"):
            self.error = _unfinished(result["failure"])
        elif "failure" in result:
            self._failures[trial_id] = result["failure"]
        elif not self.error and self._heard.get(job.id, -1) < result["number"]:
            self._heard[job.id] = result["number"]
            number, loss, accuracy, seconds = (result[name] for name in ("number", "loss", "accuracy", "seconds"))
            progress = Progress(number, loss, accuracy, seconds, result.get("inherited"))
            return bool(self._told(lambda: self._source.progress(job, progress)))
        return self.error is not None

    def lost(self, trial_id: str, error: Exception | None) -> None:
        """Told before `on_trial_complete` that a trial's worker is gone, and why."""
        if isinstance(error, ray.exceptions.RayActorError) and error.actor_init_failed:
            last = str(error).strip().splitlines()[-1]
            self.error = _unfinished(f"a worker cannot be started, this package must be installed on all nodes: {last}")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._jobs.pop(trial_id, None)
        if job is None or self.error:
            return
        if error and self._runs[job.id] < RUNS:
            self._again.append(job)
        elif error or trial_id in self._failures:
            reason = self._failures.pop(trial_id, f"the worker was lost, {RUNS} times")
            self._told(lambda: self._source.failed(job, reason))
        else:
            self._told(lambda: self._source.done(job))

    def _keep(self, weights: bytes, path: Path) -> None:
        try:
            write_weights(weights, path)
        except OSError as error:
            self.error = _unfinished(os_reason(error))

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


def _teacher_files(folder: Path) -> list[Path]:
    own = folder / NORMALISATION
    return [folder / GENOTYPE, folder / WEIGHTS, *([own] if own.is_file() else [])]


class _Stopper(_Unsaved, FIFOScheduler):  # type: ignore[misc]
    """Early stopping: after each epoch the source decides, so that its decisions outlive this process.

    Raises InputError when the nodes that are left are too small for a worker: Tune would wait for others for ever.
    """

    def __init__(self, asker: _Asker, session: RaySession, threads: int) -> None:
        super().__init__()
        self._asker, self._session, self._threads = asker, session, threads

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        idle = not any(trial.status == "RUNNING" for trial in tune_controller.get_live_trials())
        if idle and not any(node.cpus >= self._threads for node in self._session.nodes()):
            raise _unfinished(f"no node with {self._threads} processors is left in the Ray cluster")
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        # Tune skips the scheduler for the result that ends a trial by itself; _Reporter sees that one.
        return str(TrialScheduler.STOP if self._asker.result(trial.trial_id, result) else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        file = trial.pickled_error_file
        self._asker.lost(trial.trial_id, cloudpickle.loads(Path(file).read_bytes()) if file else None)


class _Reporter(_Unsaved, tune.Callback):  # type: ignore[misc]
    """Passes on what the scheduler does not see: the result that ends a trial by itself, and weights."""

    def __init__(self, asker: _Asker) -> None:
        self._asker = asker

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        weights = result.pop("weights", None)  # Tune keeps the rest of it
        if result.get("done"):
            self._asker.result(trial.trial_id, result, weights)


class RayTuneExecutor:
    """Trains with `workers` processes at once; `address` joins an existing Ray cluster instead of starting one here.

    Without `workers` it is one a processor of the cluster, or one a GPU. The setting's threads are those of a worker on
    this machine; on a cluster its processors are shared out (`nas.executors.sharing`). Raises InputError when no cluster
    answers, or when it has fewer processors than `workers`.
    """

    def __init__(self, setting: Setting, workers: int | None, address: str | None = None) -> None:
        self._session = RaySession(workers, address, _size(setting))
        try:
            each = share(self._session.nodes(), workers)
            self._workers, self._cpus = each.workers, each.threads
            setting = replace(setting, threads=each.threads) if address else setting
            resources = {"cpu": each.threads, **({"gpu": each.gpu} if each.gpu else {})}
            self._trainable = tune.with_resources(tune.with_parameters(Worker, setting=setting), resources)
        except BaseException:
            self._session.close()
            raise

    def run(self, source: Source) -> None:
        asker = _Asker(source)
        tuner = tune.Tuner(
            self._trainable,
            tune_config=tune.TuneConfig(
                search_alg=asker,
                scheduler=_Stopper(asker, self._session, self._cpus),
                num_samples=-1,
                max_concurrent_trials=self._workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=str(self._session.folder),
                callbacks=[_Reporter(asker)],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._fit(tuner)
        if asker.error:
            raise asker.error

    def _fit(self, tuner: tune.Tuner) -> None:
        try:
            tuner.fit()
        except (KeyboardInterrupt, ray.exceptions.RayError):
            if self._session.lost:  # Ray makes a plain interruption of it
                raise Lost(self._session.lost) from None
            raise

    def close(self) -> None:
        self._session.close()


def _unfinished(reason: str) -> InputError:
    return InputError(f"{reason}; what was learnt until now is kept, `nas resume` goes on")


def _size(setting: Setting) -> int:
    """Bytes for the object store: images and donor, and room for Tune's own messages."""
    splits = (setting.dataset.train, setting.dataset.validation, setting.dataset.test)
    donor = sum(tensor.nbytes for tensor in setting.donor.tensors.values()) if setting.donor else 0
    return 2 * sum(split.images.nbytes for split in splits) + 2 * donor + 256 * 2**20
