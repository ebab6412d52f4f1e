"""What our own samplers share: proposals of all active genes at once."""

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from nas.pool import Pool
from nas.proposal import Proposal, proposals
from search_spaces.registry import Value


class GeneSampler(optuna.samplers.BaseSampler):
    """Proposes a table of active genes at once; a gene that it leaves out is drawn at random."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._pool, self._rng = pool, random.Random(seed)
        self._others = optuna.samplers.RandomSampler(seed=seed)

    @abstractmethod
    def propose(self, seen: Sequence[Proposal], cost: str | None) -> Mapping[str, Value]:
        """Active genes, from all trials so far; empty when it has nothing to propose.

        `cost` is the second objective: latency, params or macs; None when accuracy is the only one.
        """

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: CategoricalDistribution(values) for name, values in self._pool.space.genes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        names = study.metric_names or []
        return dict(self.propose(proposals(study), names[1] if len(names) > 1 else None))

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return self._others.sample_independent(study, trial, name, distribution)
