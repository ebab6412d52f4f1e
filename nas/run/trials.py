"""A proposal of the search and what became of it, as Optuna's journal keeps it.

rejected   its predicted upper bound is over the budget, or the time that it was seen to take, or the device profile does not
           cover it; it was never trained
repeated   the same network came up before; answered from memory
screened   inherited and probed; the probes of others were better, and it was not trained
running    being trained
trained    trained to the end, or `stopped` early by successive halving
failed     could not be trained; the reason is kept
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
    """Trial `number`: `genes` are the active ones, none for an anchor outside the space; `accuracies` are validation
    accuracies after each epoch, 0..1.

    Of a network with a donor `probe` is the accuracy of the linear probe on its features before it is trained, `inherited`
    the share of its weights that come from the donor.
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
        """What was found of it, cheapest first: the probe, if there is one, and the accuracies."""
        return self.accuracies if self.probe is None else (self.probe, *self.accuracies)

    @property
    def anchor(self) -> str | None:
        """The anchor's name, or None for a genotype that the search proposed."""
        return self.origin.removeprefix("anchor:") if self.origin.startswith("anchor:") else None


class _Ended:
    """What cannot change any more and so is read once: the first `count` trials of a study, and others by number."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Proposal] = []
        self.others: dict[int, Proposal] = {}


_ended: WeakKeyDictionary[optuna.Study, _Ended] = WeakKeyDictionary()


def proposals(study: optuna.Study) -> list[Proposal]:
    """Every proposal of a study, in order, but for those that were cut off while being written."""
    known, found = _ended.setdefault(study, _Ended()), []
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
    """A trial that was written whole."""
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
