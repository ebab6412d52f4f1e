"""Samplers propose candidates. One file each, `NAME.py`, whose function `sampler` creates an Optuna sampler.

A sampler that chooses among many candidates of the pool may have a function `prepare`, too.
"""

from typing import TYPE_CHECKING

from search_spaces.plugins import Modules

if TYPE_CHECKING:
    import optuna

    from nas.samplers.common.pool import Pool

_SAMPLERS = Modules("samplers", __name__, "sampler")


def names() -> list[str]:
    """Names of all samplers, sorted, without importing them."""
    return _SAMPLERS.names()


def summaries() -> dict[str, str]:
    """One-line description of each sampler, by name, without importing them."""
    return _SAMPLERS.summaries()


def check(name: str) -> None:
    """Raise InputError if there is no sampler called `name`."""
    _SAMPLERS.check(name)


def make(name: str, pool: "Pool", seed: int) -> "optuna.samplers.BaseSampler":
    """Create the sampler called `name` for one proposal, which must depend on study, pool and seed alone."""
    made: optuna.samplers.BaseSampler = _SAMPLERS.load(name).sampler(pool, seed)
    return made


def prepare(name: str, pool: "Pool", evaluated: int) -> None:
    """Estimate candidates among which the sampler called `name` will choose after `evaluated` trials, if it says which."""
    if found := getattr(_SAMPLERS.load(name), "prepare", None):
        found(pool, evaluated)
