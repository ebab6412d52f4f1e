"""RayTuneExecutor: runs jobs with Ray Tune, on this machine or an existing cluster."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.executors.ray_session import RaySession  # before Ray, for it sets Ray's environment

import ray  # isort: skip
from ray import cloudpickle, tune  # isort: skip
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # isort: skip
from ray.tune.search import Searcher  # isort: skip

from evaluators.cgroups import killed_for_memory, memory_limit_bytes
from evaluators.weights import GENOTYPE, NORMALISATION, WEIGHTS, write_weights
from nas.executors.job import EpochReport, Job, Setting, Source, resumable
from nas.executors.ray_worker import Worker
from nas.executors.sharing import share
from nas.signals import Lost
from search_spaces.errors import InputError, os_reason

RUNS = 3  # attempts at a job whose worker is lost, before it counts as failed


class _NotPickled:
    """Excluded from Tune's pickled state: the journal holds the state of a search."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _SourceSearcher(_NotPickled, Searcher):  # type: ignore[misc]
    """Adapts a Source to Ray Tune: suggests its next job, and reports epochs and results to it.

    A job whose worker is lost is suggested again, up to `RUNS` times in total; its seed makes it the same training, and
    epochs are not reported twice. (Tune's own retries drop a job handed to a worker that was lost while idle.) An InputError
    raised by the source ends the session: it is stored in `error`, and no more jobs are suggested.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._source = source
        self._jobs: dict[str, Job] = {}
        self._again: list[Job] = []
        self._runs: Counter[str] = Counter()
        self._last_epoch: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self._teachers: dict[Path, Any] = {}
        self._exhausted = False
        self.error: InputError | None = None
        self._killed = killed_for_memory()

    def suggest(self, trial_id: str) -> Any:
        job = None if self.error else self._next()
        if job is None:  # running jobs may have to be repeated
            return None if self._jobs and not self.error else Searcher.FINISHED
        self._jobs[trial_id] = job
        self._runs[job.id] += 1
        return {"job": job, "teacher": self._teachers.get(job.teacher) if job.teacher else None}

    def _next(self) -> Job | None:
        if self._again:
            return self._again.pop(0)
        if self._exhausted:
            return None
        job = self._call(self._source.next)
        self._exhausted = job is None and not self._jobs  # a running job may yet be replaced
        if job and job.teacher and not self._share_teacher(job.teacher):
            return None
        return job  # type: ignore[no-any-return]

    def _share_teacher(self, folder: Path) -> bool:
        """Put the teacher's files into Ray's object store, once; False if they cannot be read."""
        try:
            if folder not in self._teachers:
                self._teachers[folder] = ray.put({file.name: file.read_bytes() for file in _teacher_files(folder)})
        except OSError as error:
            self.error = resumable(os_reason(error))
        return self.error is None

    def result(self, trial_id: str, result: dict[str, Any], weights: bytes | None = None) -> bool:
        """Save the weights, if any, and report an epoch, once; True if the job should stop."""
        job = self._jobs[trial_id]
        if weights is not None and job.keep:
            self._keep(weights, job.keep)
        if result.get("fatal"):
            self.error = resumable(result["failure"])
        elif "failure" in result:
            self._failures[trial_id] = result["failure"]
        elif not self.error and self._last_epoch.get(job.id, -1) < result["number"]:
            self._last_epoch[job.id] = result["number"]
            return bool(self._call(lambda: self._source.progress(job, EpochReport.of(result))))
        return self.error is not None

    def lost(self, trial_id: str, error: Exception | None) -> None:
        """Called before `on_trial_complete` if a trial's worker is lost, with the reason."""
        if isinstance(error, ray.exceptions.RayActorError) and error.actor_init_failed:
            last = str(error).strip().splitlines()[-1]
            self.error = resumable(f"workers cannot be started (this package must be installed on all nodes): {last}")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._jobs.pop(trial_id, None)
        if job is None or self.error:
            return
        if error and self._runs[job.id] < RUNS:
            self._again.append(job)
        elif error or trial_id in self._failures:
            reason = self._failures.pop(trial_id, f"the worker was lost, {RUNS} times{self._why_lost()}")
            self._call(lambda: self._source.failed(job, reason))
        else:
            self._call(lambda: self._source.done(job))

    def _why_lost(self) -> str:
        """The reason, if workers on this machine were killed for using too much memory."""
        if killed_for_memory() == self._killed:
            return ""
        limit = memory_limit_bytes()
        size = f"of {limit / 2**30:.1f} GiB " if limit < 2**60 else ""
        return f": the memory limit {size}was reached; use fewer --workers or smaller inputs"

    def _keep(self, weights: bytes, path: Path) -> None:
        try:
            write_weights(weights, path)
        except OSError as error:
            self.error = resumable(os_reason(error))

    def _call(self, source_method: Callable[[], Any]) -> Any:
        try:
            return source_method()
        except InputError as error:
            self.error = error
            return None

    def save(self, checkpoint_path: str) -> None:
        """No-op: the journal holds the state of a search."""

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a search is resumed from its journal")


def _teacher_files(folder: Path) -> list[Path]:
    own = folder / NORMALISATION
    return [folder / GENOTYPE, folder / WEIGHTS, *([own] if own.is_file() else [])]


class _Stopper(_NotPickled, FIFOScheduler):  # type: ignore[misc]
    """Early stopping, decided by the source after each epoch, so that decisions survive this process.

    Raises InputError if no remaining node is large enough for a worker; Tune would wait forever.
    """

    def __init__(self, asker: _SourceSearcher, session: RaySession, threads: int) -> None:
        super().__init__()
        self._asker, self._session, self._threads = asker, session, threads

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        idle = not any(trial.status == "RUNNING" for trial in tune_controller.get_live_trials())
        if idle and not any(node.cpus >= self._threads for node in self._session.nodes()):
            raise resumable(f"no node with {self._threads} processors is left in the Ray cluster")
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        # Tune skips the scheduler for a trial's last result; _Reporter receives that one.
        return str(TrialScheduler.STOP if self._asker.result(trial.trial_id, result) else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        file = trial.pickled_error_file
        self._asker.lost(trial.trial_id, cloudpickle.loads(Path(file).read_bytes()) if file else None)


class _Reporter(_NotPickled, tune.Callback):  # type: ignore[misc]
    """Passes on what the scheduler does not receive: a trial's last result, and weights."""

    def __init__(self, asker: _SourceSearcher) -> None:
        self._asker = asker

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        weights = result.pop("weights", None)  # Tune keeps the rest of the result
        if result.get("done"):
            self._asker.result(trial.trial_id, result, weights)


class RayTuneExecutor:
    """Trains with `workers` parallel processes; `address` joins an existing Ray cluster instead of starting Ray here.

    By default there is one worker per processor of the cluster, or per GPU. The setting's threads apply to this machine; on a
    cluster, processors are divided among workers (`nas.executors.sharing`). `sentence` says how to resume and is printed if
    Ray ends this process. Raises InputError if no cluster answers, or if it has fewer processors than `workers`.
    """

    def __init__(self, setting: Setting, workers: int | None, address: str | None = None, sentence: str = "") -> None:
        self._session = RaySession(workers, address, _size(setting), sentence)
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
        asker = _SourceSearcher(source)
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
            if self._session.lost:  # Ray turns it into a plain KeyboardInterrupt
                raise Lost(self._session.lost) from None
            raise

    def close(self) -> None:
        self._session.close()


def _size(setting: Setting) -> int:
    """Size of the object store in bytes: images, donor, and room for Tune's messages."""
    splits = (setting.dataset.train, setting.dataset.validation, setting.dataset.test)
    donor = sum(tensor.nbytes for tensor in setting.donor.tensors.values()) if setting.donor else 0
    return 2 * sum(split.images.nbytes for split in splits) + 2 * donor + 256 * 2**20
