"""Study: asks Optuna for genotypes, accepts feasible new ones, and stores all results.

Besides the samplers and nas.run.trials, the only module that uses Optuna. Every proposal is a trial in the journal, with its
genotype, estimate and outcome.

Each proposal comes from a new sampler with its own seed, so proposals depend on the journal alone and a resumed search
continues as if it had not been interrupted.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from evaluators.limits import Limits
from nas import samplers
from nas.budget.estimate import Estimate
from nas.pipeline.halving import Rungs
from nas.records import Asked, Note, Outcome
from nas.run.journal import MAIN, Journal, open_study, storage_of
from nas.run.notes import N, Notes, as_json
from nas.run.trials import Proposal, Trials, read, trials_of
from nas.samplers.common.feasible import Feasible
from nas.samplers.common.genes import Given
from nas.samplers.common.pool import Candidate, Pool, Space
from nas.seeds import seed_from
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype

PATIENCE = {"repeated": 10, "rejected": 1}  # since the last accepted proposal; then one is drawn from the pool instead
TIMED_IN_VAIN = 20  # measured and rejected since the last accepted one; then only the bound decides
_FIRST_DRAWN, _MOST_DRAWN = 64, 4096  # pool candidates searched for a new one; if there is none, the space is exhausted

Estimates = Callable[[Sequence[Genotype]], Sequence[Estimate]]


class Study:
    """Ask-and-tell interface of a search; every genotype's `estimate` must be within the `limits`.

    `timed`, if given, measures networks whose estimate is inconclusive. `journal` is the file, `name` the study in it. `cost`
    names a second objective (nas.pareto.COSTS), `reduction` is the factor of successive halving between epochs.
    """

    def __init__(
        self,
        journal: Path | optuna.storages.JournalStorage,
        space: Space,
        estimate: Estimates,
        limits: Limits,
        sampler: str,
        *,
        seed: int,
        cost: str | None = None,
        reduction: int = 2,
        name: str = MAIN,
        timed: Callable[[Genotype, Estimate], Estimate] | None = None,
        origins: Sequence[Genotype] = (),
    ) -> None:
        samplers.check(sampler)
        self._space, self._estimate, self._limits = space, estimate, limits
        self._sampler, self._seed, self._cost, self._reduction = sampler, seed, cost, reduction
        self._timed, self._origins = timed, origins
        self._pool = self._new_pool(estimate)
        self._storage = storage_of(Journal(journal)) if isinstance(journal, Path) else journal
        self._study = open_study(self._storage, name, cost)
        self._live: dict[int, Trial] = {}
        self._notes = Notes(self._study.user_attrs)
        stored = self._study.get_trials(deepcopy=False)
        self._incomplete = sum("outcome" not in t.user_attrs for t in stored)
        self._ids = [t._trial_id for t in stored]
        self._rungs = Rungs(self.seen, cost)
        refused = list(takewhile(lambda t: t.outcome in PATIENCE, reversed(self.seen)))
        self._refused = Counter(t.outcome for t in refused)
        self._timed_and_rejected = sum(t.outcome == "rejected" and t.estimate.timed_ms is not None for t in refused)
        self._finish_incomplete()

    def beside(self, name: str, sampler: str) -> "Study":
        """Another study in the same journal, with the same budget and its own seed."""
        seed = seed_from(self._seed, name)
        gate = self._space, self._estimate, self._limits
        return Study(
            self._storage,
            *gate,
            sampler,
            seed=seed,
            cost=self._cost,
            reduction=self._reduction,
            name=name,
            timed=self._timed,
            origins=self._origins,
        )

    def _new_pool(self, estimate: Estimates) -> Pool:
        passes = lambda e: e.fits(self._limits) or self.in_doubt(e)  # noqa: E731
        return Pool(self._space, estimate, passes, self._seed, self._origins, excess=lambda e: e.excess(self._limits))

    def prepare(self, estimate: Estimates, evaluated: int) -> None:
        """Estimate candidates of the proposal after `evaluated` trials by `estimate`; it need not trace their blocks then."""
        samplers.prepare(self._sampler, self._new_pool(estimate), evaluated)

    def trials(self) -> list[Proposal]:
        """All proposals so far, in order."""
        return list(self.seen)

    @property
    def seen(self) -> Trials:
        """The proposals so far and what is known about them; updated by each use of this property."""
        return trials_of(self._study)

    def seed_anchor(self, anchor: Anchor, probe: float | None = None) -> Proposal | None:
        """Add an anchor as a trial, with its genes if the space contains it; None if it was added before.

        With a `probe`, the trial is finished as screened.
        """
        if anchor.genotype.text in self.seen.known:
            return None
        [estimate] = self._estimate([anchor.genotype])
        try:
            genes = dict(self._space.encode(anchor.genotype))
        except InputError:
            genes = {}
        distributions: dict[str, optuna.distributions.BaseDistribution] = {
            n: optuna.distributions.CategoricalDistribution(self._space.genes[n]) for n in genes
        }
        outcome: Outcome = "running" if probe is None else "screened"
        frozen = optuna.trial.create_trial(
            state=TrialState.RUNNING if probe is None else self._stopped_state,
            params=genes,
            distributions=distributions,
            user_attrs=as_json(_attributes(f"anchor:{anchor.name}", anchor.genotype, estimate, outcome)),
            intermediate_values={} if probe is None else {0: probe},
        )
        self._study.add_trial(frozen)
        number = self.seen.known[anchor.genotype.text]
        self._ids.append(self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number))
        return self._trial(number)

    def ask(self) -> Proposal | None:
        """The next feasible new genotype to train, or None if there are no more.

        If the sampler's proposals keep being refused (evolution and TPE repeat themselves, or find nothing within a tight
        budget), the next one is drawn from the pool.
        """
        while (sampler := self._next_sampler()) is not None:
            self._study.sampler = sampler
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = self._study.ask()
            self._ids.append(trial._trial_id)
            genotype = self._space.decode(lambda gene, values, t=trial: t.suggest_categorical(gene, values))  # type: ignore[misc]
            [estimate] = self._estimate([genotype])
            if genotype.text in self.seen.known:
                self._reuse_result(trial, genotype, estimate)
            elif not (estimate := self._resolved_estimate(genotype, estimate)).fits(self._limits):
                self._write(trial, _attributes("search", genotype, estimate, "rejected", estimate.reason(self._limits)))
                self._finish(trial.number)
                self._timed_and_rejected += estimate.timed_ms is not None
            else:
                self._write(trial, _attributes("search", genotype, estimate, "running"))
                self._live[trial.number] = trial
                self._refused.clear()
                self._timed_and_rejected = 0
                return self._trial(trial.number)
            self._refused[self._trial(trial.number).outcome] += 1
        return None

    def in_doubt(self, estimate: Estimate) -> bool:
        """Whether a network with this estimate should be measured."""
        return self._timed is not None and self._timed_and_rejected < TIMED_IN_VAIN and estimate.in_doubt(self._limits)

    def _resolved_estimate(self, genotype: Genotype, estimate: Estimate) -> Estimate:
        """The estimate, after a measurement if needed; a network over the budget is removed from the pool."""
        if self._timed is None or not self.in_doubt(estimate):
            return estimate
        estimate = self._timed(genotype, estimate)
        if not estimate.fits(self._limits):
            self._pool.refuse(genotype)
        return estimate

    def _next_sampler(self) -> optuna.samplers.BaseSampler | None:
        seed = seed_from(self._seed, len(self._ids) - self._incomplete)  # ignores incompletely written trials
        refused = self._refused - Counter(
            rejected=min(self._timed_and_rejected, TIMED_IN_VAIN)
        )  # measured ones are not the sampler's fault
        if all(refused[outcome] < most for outcome, most in PATIENCE.items()):
            return Feasible(samplers.make(self._sampler, self._pool, seed), self._pool)
        fresh = self._drawn()
        return Given(self._pool, seed, fresh.genes) if fresh else None

    def _drawn(self) -> Candidate | None:
        """The first new candidate of the pool's random ones; None if there is none among thousands."""
        count, known = _FIRST_DRAWN, self.seen.known
        while count <= _MOST_DRAWN:
            found = self._pool.drawn(count)
            fresh = next((c for c in found if c.text not in known), None)
            if fresh or len(found) < count:
                return fresh
            count *= 2
        return None

    def estimates_changed(self) -> None:
        """Must be called when `estimate` returns different values for the same genotypes."""
        self._pool.forget()

    def report(self, number: int, epoch: int, accuracy: float, seconds: float, inherited: float | None = None) -> bool:
        """Store an epoch's validation accuracy (epoch 0: the probe's); True if the trial should stop."""
        trial, known = self._running(number), self._frozen_trial(number).intermediate_values
        if epoch not in known:
            if inherited is not None:
                trial.set_user_attr("inherited", inherited)
            trial.set_user_attr("seconds", self._trial(number).seconds + seconds)
            self._storage.set_trial_intermediate_value(
                trial._trial_id, epoch, accuracy
            )  # Trial.report() supports one objective only
            self._rungs.reached(self._trial(number), epoch, accuracy)
        elif epoch < max(known):
            return False  # a later epoch is stored already, so the trial was not stopped here
        own = self._trial(number)
        return self._rungs.falls_behind(own, epoch, self._reduction) if epoch else self._rungs.screened(own)

    def complete(self, number: int, epochs: int) -> Proposal:
        """Finish a trial: `trained` after `epochs` epochs, `stopped` after fewer, `screened` after none."""
        trial = self._trial(number)
        outcome = "trained" if len(trial.accuracies) >= epochs else "stopped" if trial.accuracies else "screened"
        self._running(number).set_user_attr("outcome", outcome)
        return self._finish(number)

    @property
    def _stopped_state(self) -> TrialState:
        """Optuna state of an early-stopped trial; multi-objective samplers do not support pruning."""
        return TrialState.FAIL if self._cost else TrialState.PRUNED

    def fail(self, number: int, reason: str) -> Proposal:
        """Finish a trial whose training failed."""
        trial = self._running(number)
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("outcome", "failed")
        return self._finish(number)

    def note(self, record: Note, name: str) -> None:
        """Store a record other than a trial (a measurement, a retraining) under KIND:name."""
        key, fact = f"{record.KIND}:{name}", as_json(record)
        self._study.set_user_attr(key, fact)
        self._notes.take(key, fact)

    def records(self, kind: type[N]) -> dict[str, N]:
        """Notes of a kind, by name, in the order in which they were first written."""
        return self._notes.of(kind)

    def _reuse_result(self, trial: Trial, genotype: Genotype, estimate: Estimate) -> None:
        first = self._trial(self.seen.known[genotype.text])
        self._write(trial, _attributes("search", genotype, estimate, "repeated", f"of trial {first.number}"))
        self._finish(trial.number)

    def _finish(self, number: int) -> Proposal:
        """Tell Optuna a trial's outcome; a repeated trial gets the values of the first, if that was trained."""
        trial = self._trial(number)
        first = self._trial(self.seen.known[trial.genotype.text]) if trial.outcome == "repeated" else trial
        if first.outcome == "trained":
            self._study.tell(number, self._values(first))
        else:
            self._study.tell(number, state=self._stopped_state if trial.outcome in ("stopped", "screened") else TrialState.FAIL)
        return self._trial(number)

    def _values(self, trial: Proposal) -> list[float]:
        return [trial.accuracy, *([trial.estimate.figure(self._cost)] if self._cost else [])]

    def _write(self, trial: Trial, asked: Asked) -> None:
        for key, value in as_json(asked).items():
            trial.set_user_attr(key, value)

    def _finish_incomplete(self) -> None:
        """Finish trials that an interrupted run wrote incompletely or did not finish in Optuna."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and "outcome" not in trial.user_attrs:
                self._study.tell(trial.number, state=TrialState.FAIL)
            elif trial.state == TrialState.RUNNING and trial.user_attrs["outcome"] != "running":
                self._finish(trial.number)

    def _running(self, number: int) -> Trial:
        """Optuna's handle of a trial; recreated if an earlier process proposed it."""
        if number not in self._live:
            self._live[number] = Trial(self._study, self._frozen_trial(number)._trial_id)
        return self._live[number]

    def _frozen_trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._ids[number])

    def _trial(self, number: int) -> Proposal:
        return read(self._frozen_trial(number))


def _attributes(origin: str, genotype: Genotype, estimate: Estimate, outcome: Outcome, reason: str = "") -> Asked:
    """Attributes of a trial; `outcome` comes last, so a trial that has it is complete."""
    return Asked(origin=origin, genotype=genotype.text, **estimate.as_json(), reason=reason, outcome=outcome)
