"""Feasible: rejection sampling around another sampler, until a proposal is within the budget."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.common.pool import Decoded, Pool
from search_spaces.registry import Value

TRIES = 50  # then the last proposal is used, feasible or not


class Feasible(optuna.samplers.BaseSampler):
    """Proposes the active genes of the first feasible proposal of `sampler`; rejected ones leave no trace."""

    def __init__(self, sampler: optuna.samplers.BaseSampler, pool: Pool) -> None:
        self._sampler, self._pool = sampler, pool

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: CategoricalDistribution(values) for name, values in self._pool.space.genes.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        joint = self._sampler.infer_relative_search_space(study, trial)
        for _ in range(TRIES):
            proposed = self._proposed(study, trial, joint)
            if self._pool.feasible(proposed.genotype):
                break
        return dict(proposed.genes)

    def _proposed(self, study: optuna.Study, trial: FrozenTrial, joint: Mapping[str, BaseDistribution]) -> Decoded:
        """One proposal: jointly sampled genes, other active genes independently."""
        chosen = self._sampler.sample_relative(study, trial, dict(joint))

        def choose(gene: str, values: Sequence[Value]) -> Value:
            if gene in chosen:
                return chosen[gene]  # type: ignore[no-any-return]
            return self.sample_independent(study, trial, gene, CategoricalDistribution(values))  # type: ignore[no-any-return]

        return self._pool.decoded(choose)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return self._sampler.sample_independent(study, trial, name, distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)
