"""Job sources: candidates, retrainings and probes to run; results go to the journal."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.executors.job import EpochReport, Job
from nas.progress import Progress
from nas.records import Ended, Final, Probe
from nas.run.trials import Proposal
from nas.seeds import training_seed

if TYPE_CHECKING:
    from nas.pipeline.state import State
    from nas.pipeline.study import Study


class Proposals:
    """Jobs of a search: trials left running by an interrupted session, `first` (the anchors), then the study's proposals.

    At most `trials` candidates are proposed, none after the `deadline` (time.monotonic). `stage` separates seeds and notes
    from those of another search in the run.
    """

    def __init__(
        self,
        state: "State",
        study: "Study",
        trials: int,
        *,
        first: Iterable[Proposal] = (),
        check: Callable[[Proposal], None] = lambda _: None,
        deadline: float | None = None,
        stage: str = "search",
    ) -> None:
        self._study, self._view, self._keep_time = study, state.view, state.keep_time
        self._seed, self._recipe = state.config.seed, state.resolved.recipe
        self._check, self._deadline, self.stage = check, deadline, stage
        known = study.trials()
        self._waiting = [t for t in known if t.outcome == "running"] + list(first)
        started = [t for t in known if t.anchor is None and t.outcome not in ("rejected", "repeated", "screened")]
        self._left = trials - len(started)
        self.done_before = sum(t.outcome in ("trained", "stopped", "failed") for t in known)
        self.total = self.done_before + len(self._waiting) + max(0, self._left)
        self._expected = self.total - self.done_before

    @property
    def waiting(self) -> int:
        """Number of trainings that come before the first proposal."""
        return len(self._waiting)

    def has_more(self) -> bool:
        return bool(self._waiting) or self._may_propose()

    def next(self) -> Job | None:
        proposal = self._waiting.pop(0) if self._waiting else self._propose()
        if proposal is None:
            return None
        self._check(proposal)
        seed = training_seed(self._seed, proposal.genotype, self.stage)
        return Job(str(proposal.number), proposal.origin, proposal.genotype.text, self._recipe, seed)

    def progress(self, job: Job, progress: EpochReport) -> bool:
        stop = self._study.report(int(job.id), progress.epoch, progress.accuracy, progress.seconds, progress.inherited)
        if progress.epoch:
            self._view.working(self._expected_epochs())
        return stop

    def done(self, job: Job) -> None:
        trial = self._study.complete(int(job.id), self._recipe.epochs)
        probe = "" if trial.probe is None else f"probe {trial.probe:6.2%}"
        if trial.outcome == "screened":
            self._left += 1  # replaced by another candidate
            self._view.say(f"{trial.number:>4}  {trial.genotype.id:<24} {trial.estimate.text}  {probe}")
            return
        reached = f"{trial.accuracy:6.2%} after {epochs_text(len(trial.accuracies))}"
        self._finish(trial, f"{reached}{probe and ', '}{probe}")

    def failed(self, job: Job, reason: str) -> None:
        self._finish(self._study.fail(int(job.id), reason), f"failed: {reason}")

    def _finish(self, trial: Proposal, what: str) -> None:
        self._expected -= 1
        self._keep_time()
        lead = self._study.seen.leader
        if lead:
            name = lead.anchor or lead.genotype.id
            self._view.best(f"best {lead.accuracy:.2%} at {lead.estimate.latency_ms:.1f} ms ({name})")
        self._view.step(f"{trial.number:>4}  {trial.anchor or trial.genotype.id:<24} {trial.estimate.text}  {what}")

    def _propose(self) -> Proposal | None:
        if not self._may_propose():
            return None
        proposal = self._study.ask()
        if proposal is None:
            self._end_early("no more new networks within the budget were found")
        else:
            self._left -= 1
        return proposal

    def _may_propose(self) -> bool:
        if self._left > 0 and self._deadline is not None and time.monotonic() >= self._deadline:
            self._end_early("the time limit was reached")
        return self._left > 0

    def _end_early(self, why: str) -> None:
        """Stop proposing before all trials were proposed."""
        self._study.note(Ended(why=why), self.stage)
        self._view.say(f"The search ends {self._left} candidates early: {why}.")
        self._left = 0

    def _expected_epochs(self) -> float:
        """Expected number of epochs left, from the average epochs per trial so far."""
        mean = self._study.seen.mean_epochs()
        return self._expected * ((1 + self._recipe.epochs) / 2 if mean is None else mean)


class Retrainings:
    """A list of training jobs whose results are stored as notes; `begun` are the initial notes, by job."""

    def __init__(
        self,
        jobs: list[Job],
        begun: Mapping[str, Final],
        study: "Study",
        view: Progress,
        keep_time: Callable[[], None],
    ) -> None:
        self._jobs, self._found = list(jobs), dict(begun)
        self._study, self._view, self._keep_time = study, view, keep_time
        self._curves: dict[str, list[EpochReport]] = {}
        self._epochs = sum(job.recipe.epochs for job in jobs)

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def progress(self, job: Job, progress: EpochReport) -> bool:
        if progress.epoch == 0:
            self._found[job.id] = replace(self._found[job.id], probe=progress.accuracy, inherited=progress.inherited)
            return False
        self._curves.setdefault(job.id, []).append(progress)
        self._epochs -= 1
        self._view.working(self._epochs)
        return False

    def done(self, job: Job) -> None:
        curve = self._curves[job.id]
        accuracies = tuple(p.accuracy for p in curve)
        self._keep(job, replace(self._found[job.id], accuracy=accuracies[-1], accuracies=accuracies))
        self._view.step(f"{job.label:<24} {job.id}  {curve[-1].accuracy:6.2%} after {epochs_text(len(curve))}")

    def failed(self, job: Job, reason: str) -> None:
        self._keep(job, replace(self._found[job.id], reason=reason))
        self._view.step(f"{job.label:<24} {job.id}  failed: {reason}")

    def _keep(self, job: Job, found: Final) -> None:
        seconds = round(sum(p.seconds for p in self._curves.get(job.id, [])), 1)
        self._study.note(replace(found, seconds=seconds), job.id)
        self._keep_time()


class Probes:
    """Linear probes of untrained hand-designed networks; results are stored as notes `probe:ID`."""

    def __init__(self, jobs: list[Job], study: "Study", view: Progress) -> None:
        self._jobs, self._study, self._view = list(jobs), study, view

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def progress(self, job: Job, progress: EpochReport) -> bool:
        seconds = round(progress.seconds, 2)
        found = Probe(anchor=job.label, accuracy=progress.accuracy, inherited=progress.inherited, seconds=seconds)
        self._study.note(found, job.id)
        self._view.step(f"      {job.label:<24} probe {progress.accuracy:6.2%}, {progress.inherited or 0:4.0%} inherited")
        return False

    def done(self, job: Job) -> None:
        """The result is already stored."""

    def failed(self, job: Job, reason: str) -> None:
        self._study.note(Probe(reason=reason), job.id)
        self._view.step(f"      {job.label:<24} failed: {reason}")


def epochs_text(count: int) -> str:
    return f"{count} epoch" + ("" if count == 1 else "s")
