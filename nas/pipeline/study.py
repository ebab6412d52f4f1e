"""The study: asks Optuna for genotypes, lets only feasible and new ones through, and keeps all that is learnt.

Beside the samplers and nas.run.trials the only module that knows Optuna. Every proposal is a trial in the journal, with its
genotype, figures and outcome.

Each proposal comes from a sampler made anew with a seed of its own, so that what is asked depends on the journal alone
and a resumed search goes on as if it had not been interrupted.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from nas import samplers
from nas.budget.estimate import Estimate
from nas.pipeline import halving
from nas.records import Asked, Note, Outcome
from nas.run.journal import MAIN, Journal, open_study, storage_of
from nas.run.notes import N, Notes, as_json
from nas.run.trials import Proposal, proposals, read
from nas.samplers.common.feasible import Feasible
from nas.samplers.common.genes import Given
from nas.samplers.common.pool import Candidate, Pool, Space
from nas.seeds import seed_from
from search_spaces.anchor import Anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype

PATIENCE = {"repeated": 10, "rejected": 1}  # since the last that was accepted; then one is drawn that is feasible and new
TIMED_IN_VAIN = 20  # likewise; then only those pass whose bound holds the budget, and nobody is timed
_FIRST_DRAWN, _MOST_DRAWN = 64, 4096  # candidates that are looked through for it; without one the space is exhausted


class Study:
    """A search's memory and its questions. `estimate` and the budget form the gate that every genotype must pass.

    `timed`, where there is something to time networks by, is asked for a better estimate of those in doubt.
    `journal` is the file, `name` tells studies in it apart. `cost` names a second objective (nas.pareto.COSTS), `reduction`
    is that of successive halving between epochs.
    """

    def __init__(
        self,
        journal: Path | optuna.storages.JournalStorage,
        space: Space,
        estimate: Callable[[Sequence[Genotype]], Sequence[Estimate]],
        budget_ms: float,
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
        self._space, self._estimate, self._budget_ms = space, estimate, budget_ms
        self._sampler, self._seed, self._cost, self._reduction = sampler, seed, cost, reduction
        self._timed, self._origins = timed, origins
        self._pool = Pool(space, estimate, lambda e: e.fits(budget_ms) or self.in_doubt(e), seed, origins)
        self._storage = storage_of(Journal(journal)) if isinstance(journal, Path) else journal
        self._study = open_study(self._storage, name, cost)
        self._live: dict[int, Trial] = {}
        self._notes = Notes()
        self._half_written = sum("outcome" not in t.user_attrs for t in self._study.get_trials(deepcopy=False))
        self._ids = [t._trial_id for t in self._study.get_trials(deepcopy=False)]
        trials = self.trials()
        self._known = {t.genotype.text: t.number for t in trials if t.outcome not in PATIENCE}
        refused = list(takewhile(lambda t: t.outcome in PATIENCE, reversed(trials)))
        self._refused = Counter(t.outcome for t in refused)
        self._in_vain = sum(t.outcome == "rejected" and t.estimate.timed_ms is not None for t in refused)
        self._end_cut_off()

    def beside(self, name: str, sampler: str) -> "Study":
        """Another study in the same journal, with the same gate and a seed of its own."""
        seed = seed_from(self._seed, name)
        gate = self._space, self._estimate, self._budget_ms
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

    def trials(self) -> list[Proposal]:
        """Every proposal so far, in order."""
        return proposals(self._study)

    def seed_anchor(self, anchor: Anchor, probe: float | None = None) -> Proposal | None:
        """Enters an anchor as a trial, with its genes when the space contains it; None if it was entered before.

        With a `probe` the trial is over: that is all that is to be known of it.
        """
        if anchor.genotype.text in self._known:
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
            state=TrialState.RUNNING if probe is None else self._early,
            params=genes,
            distributions=distributions,
            user_attrs=as_json(_asked(f"anchor:{anchor.name}", anchor.genotype, estimate, outcome)),
            intermediate_values={} if probe is None else {0: probe},
        )
        self._study.add_trial(frozen)
        self._ids.append(self._study.get_trials(deepcopy=False)[-1]._trial_id)
        number = len(self._ids) - 1
        self._known[anchor.genotype.text] = number
        return self._trial(number)

    def ask(self) -> Proposal | None:
        """The next feasible new genotype to train, or None when there is none any more.

        Where PATIENCE is at its end (evolution and TPE come to repeat themselves, or find nothing within a tight budget), the
        next is drawn from the pool.
        """
        while (sampler := self._next_sampler()) is not None:
            self._study.sampler = sampler
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = self._study.ask()
            self._ids.append(trial._trial_id)
            genotype = self._space.decode(lambda gene, values, t=trial: t.suggest_categorical(gene, values))  # type: ignore[misc]
            [estimate] = self._estimate([genotype])
            if genotype.text in self._known:
                self._answer_from_memory(trial, genotype, estimate)
            elif not (estimate := self._settled(genotype, estimate)).fits(self._budget_ms):
                self._write(trial, _asked("search", genotype, estimate, "rejected", self._reason(estimate)))
                self._end(trial.number)
                self._in_vain += estimate.timed_ms is not None
            else:
                self._write(trial, _asked("search", genotype, estimate, "running"))
                self._known[genotype.text] = trial.number
                self._live[trial.number] = trial
                self._refused.clear()
                self._in_vain = 0
                return self._trial(trial.number)
            self._refused[self._trial(trial.number).outcome] += 1
        return None

    def in_doubt(self, estimate: Estimate) -> bool:
        """Whether a network of this estimate is worth being timed."""
        return self._timed is not None and self._in_vain < TIMED_IN_VAIN and estimate.in_doubt(self._budget_ms)

    def _settled(self, genotype: Genotype, estimate: Estimate) -> Estimate:
        """The estimate after timing, if that was needed; who is over the budget is not proposed again."""
        if self._timed is None or not self.in_doubt(estimate):
            return estimate
        estimate = self._timed(genotype, estimate)
        if not estimate.fits(self._budget_ms):
            self._pool.refuse(genotype)
        return estimate

    def _reason(self, estimate: Estimate) -> str:
        """Why an estimate does not pass, where it is not that its bound is over the budget."""
        if estimate.timed_ms is not None:
            return "over the budget when it was timed"
        return "" if estimate.bound_ms > self._budget_ms else "beyond what the device profile was measured for"

    def _next_sampler(self) -> optuna.samplers.BaseSampler | None:
        seed = seed_from(self._seed, len(self._ids) - self._half_written)  # as if what was cut off had never been asked
        refused = self._refused - Counter(rejected=min(self._in_vain, TIMED_IN_VAIN))  # timed ones were no fault of the sampler
        if all(refused[outcome] < most for outcome, most in PATIENCE.items()):
            return Feasible(samplers.make(self._sampler, self._pool, seed), self._pool)
        fresh = self._drawn()
        return Given(self._pool, seed, fresh.genes) if fresh else None

    def _drawn(self) -> Candidate | None:
        """The first candidate of the pool's random ones that is new; None when there is none among thousands."""
        count = _FIRST_DRAWN
        while count <= _MOST_DRAWN:
            found = self._pool.drawn(count)
            fresh = next((c for c in found if c.text not in self._known), None)
            if fresh or len(found) < count:
                return fresh
            count *= 2
        return None

    def estimates_changed(self) -> None:
        """To be called when `estimate` says something else than before of the same genotypes."""
        self._pool.forget()

    def report(self, number: int, epoch: int, accuracy: float, seconds: float, inherited: float | None = None) -> bool:
        """Keeps an epoch's validation accuracy, or as epoch 0 that of the probe; True when the trial is to stop there."""
        trial, known = self._running(number), self._frozen(number).intermediate_values
        if epoch not in known:
            if inherited is not None:
                trial.set_user_attr("inherited", inherited)
            trial.set_user_attr("seconds", self._trial(number).seconds + seconds)
            self._storage.set_trial_intermediate_value(trial._trial_id, epoch, accuracy)  # report() is for one objective
        elif epoch < max(known):
            return False  # an interrupted run kept a later one already: the trial survived this
        own, trials = self._trial(number), self.trials()
        if epoch == 0:
            return halving.screened(own, trials, self._cost)
        return halving.falls_behind(own, trials, epoch, self._reduction, self._cost)

    def complete(self, number: int, epochs: int) -> Proposal:
        """The trial ended: after `epochs` epochs it is `trained`, after fewer it was `stopped`, after none `screened`."""
        trial = self._trial(number)
        outcome = "trained" if len(trial.accuracies) >= epochs else "stopped" if trial.accuracies else "screened"
        self._running(number).set_user_attr("outcome", outcome)
        return self._end(number)

    @property
    def _early(self) -> TrialState:
        """The state of a trial that ended early: samplers of two objectives do not know pruning."""
        return TrialState.FAIL if self._cost else TrialState.PRUNED

    def fail(self, number: int, reason: str) -> Proposal:
        """The trial could not be trained."""
        trial = self._running(number)
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("outcome", "failed")
        return self._end(number)

    def note(self, record: Note, name: str) -> None:
        """Keeps what is not a trial (a measurement, a retraining), under `name` among those of its kind."""
        self._study.set_user_attr(f"{record.KIND}:{name}", as_json(record))

    def records(self, kind: type[N]) -> dict[str, N]:
        """The notes of a kind, by name, in the order in which they were first kept."""
        return self._notes.of(kind, self._storage.get_study_user_attrs(self._study._study_id))

    def _answer_from_memory(self, trial: Trial, genotype: Genotype, estimate: Estimate) -> None:
        first = self._trial(self._known[genotype.text])
        self._write(trial, _asked("search", genotype, estimate, "repeated", f"of trial {first.number}"))
        self._end(trial.number)

    def _end(self, number: int) -> Proposal:
        """Has Optuna close a trial as its outcome says; a repeated one that was trained has the values of the first."""
        trial = self._trial(number)
        first = self._trial(self._known[trial.genotype.text]) if trial.outcome == "repeated" else trial
        if first.outcome == "trained":
            self._study.tell(number, self._values(first))
        else:
            self._study.tell(number, state=self._early if trial.outcome in ("stopped", "screened") else TrialState.FAIL)
        return self._trial(number)

    def _values(self, trial: Proposal) -> list[float]:
        return [trial.accuracy, *([trial.estimate.figure(self._cost)] if self._cost else [])]

    def _write(self, trial: Trial, asked: Asked) -> None:
        for key, value in as_json(asked).items():
            trial.set_user_attr(key, value)

    def _end_cut_off(self) -> None:
        """Closes trials that an interrupted run had not written whole, or had not closed yet as their outcome says."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and "outcome" not in trial.user_attrs:
                self._study.tell(trial.number, state=TrialState.FAIL)
            elif trial.state == TrialState.RUNNING and trial.user_attrs["outcome"] != "running":
                self._end(trial.number)

    def _running(self, number: int) -> Trial:
        """The trial as Optuna's handle; remade for one that an earlier process asked for."""
        if number not in self._live:
            self._live[number] = Trial(self._study, self._frozen(number)._trial_id)
        return self._live[number]

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._ids[number])

    def _trial(self, number: int) -> Proposal:
        return read(self._frozen(number))


def _asked(origin: str, genotype: Genotype, estimate: Estimate, outcome: Outcome, reason: str = "") -> Asked:
    """A trial's attributes, of which `outcome` comes last, so that a trial which has it has them all."""
    return Asked(origin=origin, genotype=genotype.text, **estimate.as_json(), reason=reason, outcome=outcome)
