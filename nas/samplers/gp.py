"""Optuna's Gaussian process sampler (GPSampler), on the genes that all trained networks share."""

import warnings

import optuna

from nas.samplers.common.pool import Pool

_STARTUP = 12  # random proposals, the anchors that the space contains among them


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=_STARTUP, warn_independent_sampling=False)
