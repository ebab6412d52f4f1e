"""What our own samplers share: proposals of all active genes at once, and trials as they want to see them."""

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from nas.estimate import Estimate
from nas.pool import Pool
from search_spaces.genotype import Genotype
from search_spaces.registry import Value


@dataclass(frozen=True)
class Seen:
    """Trial `number`: its active genes (none for an anchor outside the space), genotype, estimate, accuracy after each epoch.

    `outcome` is that of the study: running, trained, stopped, failed, rejected or repeated.
    """

    number: int
    genes: Mapping[str, Value]
    genotype: Genotype
    estimate: Estimate
    outcome: str
    accuracies: tuple[float, ...]


class GeneSampler(optuna.samplers.BaseSampler):
    """Proposes a table of active genes at once; a gene that it leaves out is drawn at random."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._pool, self._rng = pool, random.Random(seed)
        self._others = optuna.samplers.RandomSampler(seed=seed)

    @abstractmethod
    def propose(self, seen: Sequence[Seen], cost: str | None) -> Mapping[str, Value]:
        """Active genes, from all trials so far; empty when it has nothing to propose.

        `cost` is the second objective: latency, params or macs; None when accuracy is the only one.
        """

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: CategoricalDistribution(values) for name, values in self._pool.space.genes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        seen = [_seen(t) for t in study.get_trials(deepcopy=False) if "outcome" in t.user_attrs]
        names = study.metric_names or []
        return dict(self.propose(seen, names[1] if len(names) > 1 else None))

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return self._others.sample_independent(study, trial, name, distribution)


def _seen(trial: FrozenTrial) -> Seen:
    known = trial.user_attrs
    accuracies = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    genotype, estimate = _genotype(known["genotype"]), Estimate.from_json(known)
    return Seen(trial.number, trial.params, genotype, estimate, known["outcome"], accuracies)


@lru_cache(maxsize=10_000)
def _genotype(text: str) -> Genotype:
    return Genotype.parse(text)
