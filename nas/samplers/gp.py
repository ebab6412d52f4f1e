"""Optuna's Gaussian process (GPSampler) on the genes that all trained networks share."""

import warnings

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.samplers.common.genes import common_genes
from nas.samplers.common.pool import Pool

_STARTUP = 12  # initial random trials, including anchors inside the space


class Gp(optuna.samplers.GPSampler):
    """GPSampler with a faster search for the joint search space, for a single objective."""

    def __init__(self, pool: Pool, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=_STARTUP, warn_independent_sampling=False)
        self._pool = pool

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if len(study.directions) > 1:
            return super().infer_relative_search_space(study, trial)
        return {n: d for n, d in common_genes(self._pool, study, stopped=False).items() if not d.single()}


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Gp(pool, seed)
