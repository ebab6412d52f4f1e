"""Proposal: a trial of the search and its outcome, as stored in Optuna's journal.

rejected   not trained: its predicted upper bound or measured latency exceeds the budget, or the device profile does not
           cover it
repeated   same network as an earlier trial, whose accuracy is reused
screened   not trained: its linear probe was worse than others'
running    in training
trained    trained for all epochs
stopped    stopped early by successive halving
failed     training failed, for the recorded reason
"""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial

from nas.budget.estimate import Estimate
from nas.pareto import front
from nas.run.storage import Storage
from search_spaces.genotype import Genotype
from search_spaces.registry import Value


@dataclass(frozen=True)
class Proposal:
    """Trial `number`: `genes` are the active ones (none for an anchor outside the space), `accuracies` the validation
    accuracy after each epoch, 0..1.

    With a donor, `probe` is the linear probe's accuracy before training and `inherited` the share of inherited weights.
    """

    number: int
    origin: str
    genes: Mapping[str, Value]
    genotype: Genotype
    estimate: Estimate
    outcome: str
    reason: str
    accuracies: tuple[float, ...]
    seconds: float
    probe: float | None = None
    inherited: float | None = None

    @property
    def accuracy(self) -> float:
        """The last validation accuracy."""
        return self.accuracies[-1]

    @property
    def rungs(self) -> tuple[float, ...]:
        """Evaluations in order of cost: the probe, if any, then the accuracies."""
        return self.accuracies if self.probe is None else (self.probe, *self.accuracies)

    @property
    def anchor(self) -> str | None:
        """Name of the anchor; None for a candidate."""
        return self.origin.removeprefix("anchor:") if self.origin.startswith("anchor:") else None


class Trials(Sequence[Proposal]):
    """All completely written proposals of a study in order, and what a search looks up among them, without reading all again.

    known       number of the trial of each accepted network, by genotype text
    running     trials in training, by number
    ended       numbers of evaluated trials and of failed ones, ascending
    finished    numbers of trials that were trained for all epochs, ascending
    best        (-accuracy, number) of these, ascending
    front       those of them on the Pareto front of accuracy and `cost`, if there is a second objective
    leader      the first of nas.pipeline.ranking, anchors included
    """

    def __init__(self, cost: str | None) -> None:
        self._cost, self._read = cost, 0
        self._all: list[Proposal] = []
        self._places: dict[int, int] = {}
        self._bounded: list[int] = []
        self._trainings = self._epochs = 0
        self.known: dict[str, int] = {}
        self.running: dict[int, Proposal] = {}
        self.ended: list[int] = []
        self.finished: list[int] = []
        self.best: list[tuple[float, int]] = []
        self.front: list[Proposal] = []
        self.leader: Proposal | None = None
        self._candidates: set[str] = set()
        self._identified = 0

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, place: int) -> Proposal: ...
    @overload
    def __getitem__(self, place: slice) -> list[Proposal]: ...
    def __getitem__(self, place: int | slice) -> Proposal | list[Proposal]:
        return self._all[place]

    def numbered(self, number: int) -> Proposal:
        """The proposal with this trial number."""
        return self._all[self._places[number]]

    def turn(self, number: int) -> int | None:
        """How many candidates were accepted by their bound alone before this one; None unless it was itself."""
        place = bisect_left(self._bounded, number)
        return place if number in self._bounded[place : place + 1] else None

    def candidates(self) -> set[str]:
        """Ids of all networks that the sampler proposed."""
        self._candidates |= {t.genotype.id for t in self._all[self._identified :] if t.anchor is None}
        self._identified = len(self._all)
        return self._candidates

    def mean_epochs(self) -> float | None:
        """Average epochs of trained and stopped trials; None if there are none."""
        return self._epochs / self._trainings if self._trainings else None

    def catch_up(self, study: optuna.Study) -> None:
        """Read the trials that were written since the last time."""
        assert isinstance(study._storage, Storage)
        changed, self._read = study._storage.changed(study._study_id, self._read)
        for trial in changed:
            if "outcome" in trial.user_attrs:
                self._take(read(trial))

    def _take(self, proposal: Proposal) -> None:
        number = proposal.number
        if number not in self._places:
            self._places[number] = len(self._all)
            self._all.append(proposal)
            self._enter(proposal)
            ends = proposal.outcome not in ("rejected", "repeated", "running")
        else:
            ends = self.numbered(number).outcome == "running" != proposal.outcome
            self._all[self._places[number]] = proposal
        if proposal.outcome == "running":
            self.running[number] = proposal
        elif ends:
            self._end(proposal)

    def _enter(self, proposal: Proposal) -> None:
        accepted = proposal.outcome not in ("rejected", "repeated")
        if accepted:
            self.known[proposal.genotype.text] = proposal.number
        if accepted and proposal.anchor is None and proposal.estimate.timed_ms is None:
            self._bounded.append(proposal.number)

    def _end(self, proposal: Proposal) -> None:
        self.running.pop(proposal.number, None)
        if proposal.rungs or proposal.outcome == "failed":
            insort(self.ended, proposal.number)
        if proposal.outcome in ("trained", "stopped"):
            self._trainings += 1
            self._epochs += len(proposal.accuracies)
            self.leader = min((t for t in (self.leader, proposal) if t), key=standing)
        if proposal.outcome == "trained":
            insort(self.finished, proposal.number)
            insort(self.best, (-proposal.accuracy, proposal.number))
            if self._cost:
                rivals = [*self.front, proposal]
                self.front = [rivals[i] for i in front([(t.estimate.figure(self._cost), t.accuracy) for t in rivals])]


def standing(trial: Proposal) -> tuple[int, float, int]:
    """Sort key of trained trials, best first: by epochs trained, then by validation accuracy."""
    return -len(trial.accuracies), -trial.accuracy, trial.number


def proposals(study: optuna.Study) -> list[Proposal]:
    """All completely written proposals of a study, in order."""
    return [read(trial) for trial in study.get_trials(deepcopy=False) if "outcome" in trial.user_attrs]


_kept: WeakKeyDictionary[optuna.Study, Trials] = WeakKeyDictionary()


def trials_of(study: optuna.Study) -> Trials:
    """The proposals of a study (nas.run.journal.open_study) as they are now; later calls update the same object."""
    if study not in _kept:
        names = study.metric_names or []
        _kept[study] = Trials(names[1] if len(names) > 1 else None)
    _kept[study].catch_up(study)
    return _kept[study]


def read(trial: FrozenTrial) -> Proposal:
    """Parse a completely written trial."""
    known = trial.user_attrs
    return Proposal(
        number=trial.number,
        origin=known["origin"],
        genes=trial.params,
        genotype=_genotype(known["genotype"], trial.number),
        estimate=Estimate.from_json(known),
        outcome=known["outcome"],
        reason=known["reason"],
        accuracies=tuple(value for epoch, value in sorted(trial.intermediate_values.items()) if epoch),
        seconds=known.get("seconds", 0.0),
        probe=trial.intermediate_values.get(0),
        inherited=known.get("inherited"),
    )


@lru_cache(maxsize=10_000)
def _genotype(text: str, number: int) -> Genotype:
    return Genotype.parse(text, f"journal, trial {number}")
