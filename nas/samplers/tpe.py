"""Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), with constant liar for running trials."""

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.samplers.common.genes import common_genes
from nas.samplers.common.pool import Pool

_STARTUP = 12  # initial random trials, including anchors inside the space


class Tpe(optuna.samplers.TPESampler):
    """TPESampler with a faster search for the joint search space, for a single objective."""

    def __init__(self, pool: Pool, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=_STARTUP, constant_liar=True)
        self._pool = pool

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if len(study.directions) > 1:
            return super().infer_relative_search_space(study, trial)
        return common_genes(self._pool, study, stopped=True)


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return Tpe(pool, seed)
