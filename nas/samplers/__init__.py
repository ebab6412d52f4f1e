"""Samplers: who proposes the next candidate. One file each, `NAME.py`, whose `sampler` makes an Optuna sampler."""

from typing import TYPE_CHECKING

from search_spaces.plugins import Modules

if TYPE_CHECKING:
    import optuna

    from nas.samplers.common.pool import Pool

_SAMPLERS = Modules("samplers", __name__, "sampler")


def names() -> list[str]:
    """Every sampler's name, sorted; imports none of them."""
    return _SAMPLERS.names()


def summaries() -> dict[str, str]:
    """One line about each sampler, by name; imports none of them."""
    return _SAMPLERS.summaries()


def check(name: str) -> None:
    """Raises InputError when there is no sampler called `name`."""
    _SAMPLERS.check(name)


def make(name: str, pool: "Pool", seed: int) -> "optuna.samplers.BaseSampler":
    """The sampler called `name` for one proposal.

    What it proposes follows from the study, the pool and the seed alone.
    """
    made: optuna.samplers.BaseSampler = _SAMPLERS.load(name).sampler(pool, seed)
    return made
