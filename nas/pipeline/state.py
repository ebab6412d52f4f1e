"""State: what the stages of a search share; everything in it can be rebuilt from the journal."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from evaluators.data import Dataset
from evaluators.inheritance.donor import Donor
from evaluators.latency.device.measure_networks import Bench
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.device.stored_times import Times
from evaluators.latency.predict.predictor import Predictor
from evaluators.latency.runtime import quantiser_of
from evaluators.processors import processors
from nas.budget.estimate import Estimate
from nas.budget.estimator import Estimator
from nas.budget.timing import LocalTimer, Timer
from nas.executors import evaluators
from nas.executors.job import Executor, Setting, Source
from nas.pipeline.recorded import Recorded
from nas.pipeline.study import Study
from nas.progress import Progress
from nas.records import Checked, Measured, Session
from nas.run.folder import Run
from nas.run.notes import now
from nas.run.tensorboard import in_folder
from search_spaces.anchor import Anchor, base_name
from search_spaces.genotype import Genotype


class State:
    """One session of a run. `executor` creates the executor of trainings; the run's evaluator evaluates candidates.

    `timer` measures latency, by default on this machine with the runtime of the run's device profile. All trained networks
    inherit from the `donor`, if any. `again`: keys of retrainings whose lost weights were trained again. `others`: finalists of
    the random-search baseline.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        predictor: Predictor,
        executor: Callable[[Setting], Executor],
        view: Progress,
        *,
        timer: Timer | None = None,
        donor: Donor | None = None,
    ) -> None:
        self.run, self.dataset, self.view, self.donor = run, dataset, view, donor
        self.config, self.resolved, self.space = run.config, run.resolved, run.space()
        self.evaluator = evaluators.load(run.config.evaluator)
        profile = load_profile(str(run.device_profile), anywhere=True)
        measuring = Bench.of(profile, self.space), Times.of(profile, self.space)
        self._quantiser = quantiser_of(profile.device.runtime)
        self.timer = timer or LocalTimer(*measuring, self.setting.quantisation)
        self.budget = replace(run.config.latency_budget(self.resolved.precision), usual=self.timer.usual)
        self.above_quiet = self.budget.above_quiet(profile.calibration(self.space).networks)
        self.task = self.space.task(len(dataset.classes))
        self.limits = run.config.limits(self.resolved.precision)
        self.estimator = Estimator(predictor, self.task, self.budget, self.above_quiet, self.resolved.precision)
        self.anchors: dict[str, Anchor] = {a.genotype.id: a for a in self.space.reference_networks()}
        self._left_out: set[str] = set()
        self.again: list[str] = []
        self.others: list[Genotype] = []
        self._started, self._session = time.monotonic(), now()
        self._make, self._made = executor, dict[str, Executor]()
        self._events = in_folder(run.path, run.config.tensorboard)
        self.study = self._open_study()
        self.learn()

    def _open_study(self) -> Study:
        return Study(
            self.run.journal,
            self.space,
            self.estimator.estimate,
            self.limits,
            self.config.sampler,
            seed=self.config.seed,
            cost=self.config.cost,
            timed=self.timed if self.config.measure else None,
            origins=self._donor_in_space(),
        )

    def estimate(self, genotype: Genotype) -> Estimate:
        """Estimate of a network before training."""
        return self.estimator.estimate([genotype])[0]

    def timed(self, genotype: Genotype, estimate: Estimate) -> Estimate:
        """Measure an untrained network, update the corrections, and return its new estimate."""
        if genotype.id not in self.study.records(Checked):
            record = self.estimator.checked(genotype, estimate, self.timer.check(genotype, self.task))
            self.study.note(record, genotype.id)
            over = "  over the budget" if record.timed_ms > self.budget.allowed_ms else ""
            self.view.say(
                f"      {self.name(genotype):<24} measured: at most {record.timed_ms:.2f} ms under typical load; "
                f"{_predicted(estimate)}{over}"
            )
        before = self.estimator.growth
        self.learn()
        if self.estimator.growth > before:
            self.view.say(f"The upper bound was too low; it is now scaled by {self.estimator.growth:.3f}.")
        return self.estimate(genotype)

    def leave_out(self, entry: Anchor, reason: str) -> None:
        """Say once that an anchor does not take part."""
        if entry.name not in self._left_out:
            self._left_out.add(entry.name)
            self.view.say(f"{entry.name} is left out: {reason}")

    def learn(self) -> None:
        """Update the corrections of the bound from measurements in the journal, untrained and retrained."""
        over = {i: m for i, m in self.measured().items() if not m.held}
        if self.estimator.learn(self.study.records(Checked), over):
            self.study.estimates_changed()

    def measured(self) -> dict[str, Measured]:
        """Measurements of candidates of the search, by id; excludes anchors and random search."""
        proposed, measured = self.study.seen.candidates(), self.study.records(Measured)
        return {i: m for i, m in measured.items() if i in proposed and i not in self.anchors}

    def name(self, genotype: Genotype) -> str:
        return self.anchors[genotype.id].name if genotype.id in self.anchors else genotype.id

    def weights(self, key: str) -> Path:
        """Weights file of a retraining, by its key: ID, or ID/SEED for further seeds."""
        return self.run.weights(key.replace("/", "-"))

    @cached_property
    def setting(self) -> Setting:
        """Settings shared by all jobs of the run."""
        known = self.resolved
        threads = max(1, processors() // (known.workers or 1))
        statistics = tuple(known.mean), tuple(known.std)
        deployed = known.precision, self._quantiser
        return Setting(self.dataset, *statistics, self.config.metric, threads, self.donor, *deployed)

    def train(self, source: Source, group: str) -> None:
        """Run training jobs; `group` is their name in event files, if these were asked for."""
        self._trainer().run(self.recorded(source, group))

    def recorded(self, source: Source, group: str) -> Source:
        """The source, whose trainings are also written to event files if these were asked for."""
        return Recorded(source, self._events, group) if self._events else source

    def rater(self) -> Executor:
        """Executor of candidate evaluations; creating it may add a phase."""
        return self._executor("rater", lambda: self.evaluator.executor(self.run, self.setting, self.view, self._trainer))

    def _trainer(self) -> Executor:
        return self._executor("trainer", lambda: self._make(self.setting))

    def _executor(self, name: str, make: Callable[[], Executor]) -> Executor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def deadline(self) -> float | None:
        """Time after which no more candidates are proposed (time.monotonic)."""
        return self._started + self.config.time_s if self.config.time_s else None

    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def keep_time(self) -> None:
        """Store how long this session has taken so far."""
        self.study.note(Session(seconds=round(time.monotonic() - self._started, 1)), self._session)

    def close(self) -> None:
        self.keep_time()
        if self._events:
            self._events.close()
        for made in dict.fromkeys(self._made.values()):  # both may be the same executor
            made.close()

    def _donor_in_space(self) -> Sequence[Genotype]:
        """The donor's own network at each input, if the space contains it."""
        own = [a for a in self.anchors.values() if self.donor and base_name(a.name) == self.donor.name]
        return [a.genotype for a in own if self.space.place_of(a) == "inside"]


def _predicted(estimate: Estimate) -> str:
    if not estimate.covered:
        return "not covered by the device profile"
    return f"{estimate.predicted_ms:.2f} ms predicted, bound {estimate.bound_ms:.2f} ms"
