"""Uniform random search, the baseline."""

import optuna

from nas.samplers.common.pool import Pool


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)
