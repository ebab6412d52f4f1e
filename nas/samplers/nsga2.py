"""Optuna's NSGA-II (Deb et al., 2002), with a population for tens of trials rather than thousands."""

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.samplers.common.genes import common_genes
from nas.samplers.common.pool import Pool

_POPULATION = 20


class Nsga2(optuna.samplers.NSGAIISampler):
    def __init__(self, pool: Pool, seed: int) -> None:
        super().__init__(population_size=_POPULATION, seed=seed)
        self._pool = pool

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return common_genes(self._pool, study, stopped=False)


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return Nsga2(pool, seed)
