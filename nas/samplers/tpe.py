"""Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), proposals in flight counted as bad ones."""

import optuna

from nas.pool import Pool

_STARTUP = 12  # random proposals, the anchors that the space contains among them


def sampler(pool: Pool, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP, constant_liar=True)
