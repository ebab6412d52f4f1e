"""GeneSampler, the base of samplers that propose all active genes at once; and Given, which proposes fixed genes."""

import random
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

from nas.run.trials import Trials, trials_of
from nas.samplers.common.pool import Pool
from search_spaces.registry import Value

_common: WeakKeyDictionary[Pool, IntersectionSearchSpace] = WeakKeyDictionary()


def common_genes(pool: Pool, study: optuna.Study, stopped: bool) -> dict[str, BaseDistribution]:
    """Genes that all trained trials share, for Optuna's samplers, with or without trials `stopped` early.

    Cached per pool, because each proposal has a new sampler, which would scan all trials again.
    """
    return _common.setdefault(pool, IntersectionSearchSpace(include_pruned=stopped)).calculate(study)


class GeneSampler(optuna.samplers.BaseSampler):
    """Proposes a table of active genes at once; missing genes are drawn at random."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._pool, self._rng = pool, random.Random(seed)
        self._others = optuna.samplers.RandomSampler(seed=seed)

    @abstractmethod
    def propose(self, seen: Trials, cost: str | None) -> Mapping[str, Value]:
        """Propose active genes, given all trials so far; empty for a random proposal.

        `cost` is the second objective: latency, params or macs; None if accuracy is the only one.
        """

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: CategoricalDistribution(values) for name, values in self._pool.space.genes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        names = study.metric_names or []
        return dict(self.propose(trials_of(study), names[1] if len(names) > 1 else None))

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return self._others.sample_independent(study, trial, name, distribution)


class Given(GeneSampler):
    """Proposes a fixed table of active genes."""

    def __init__(self, pool: Pool, seed: int, genes: Mapping[str, Value]) -> None:
        super().__init__(pool, seed)
        self._genes = genes

    def propose(self, seen: Trials, cost: str | None) -> Mapping[str, Value]:
        return self._genes
