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

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial

from nas.budget.estimate import Estimate
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


class _Finished:
    """Finished trials, which are parsed once: the first `count` trials of a study, and later ones by number."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Proposal] = []
        self.others: dict[int, Proposal] = {}


_finished: WeakKeyDictionary[optuna.Study, _Finished] = WeakKeyDictionary()


def proposals(study: optuna.Study) -> list[Proposal]:
    """All proposals of a study in order, except incompletely written ones."""
    known, found = _finished.setdefault(study, _Finished()), []
    for number, trial in enumerate(study.get_trials(deepcopy=False)[known.count :], known.count):
        proposal = known.others.get(number) or (read(trial) if "outcome" in trial.user_attrs else None)
        if trial.state.is_finished() and number == known.count:
            known.count += 1
            known.others.pop(number, None)
            known.first += [proposal] if proposal else []
        elif proposal:
            found.append(proposal)
            if trial.state.is_finished():
                known.others[number] = proposal
    return [*known.first, *found]


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
