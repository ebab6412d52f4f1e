"""Optuna's NSGA-II (Deb et al., 2002), with a population that suits tens of trainings rather than thousands."""

import optuna

from nas.pool import Pool

_POPULATION = 20


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed)
