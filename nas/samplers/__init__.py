"""Samplers: who proposes the next candidate. One file each, `NAME.py`, whose `sampler` makes an Optuna sampler."""

import importlib
from importlib.resources import files
from typing import TYPE_CHECKING

from search_spaces.errors import InputError, near_miss

if TYPE_CHECKING:
    import optuna

    from nas.samplers.common.pool import Pool

DEFAULT = "surrogate"


def names() -> list[str]:
    """Every sampler's name, sorted; imports none of them."""
    stems = (entry.name.removesuffix(".py") for entry in files(__name__).iterdir() if entry.name.endswith(".py"))
    return sorted(stem for stem in stems if not stem.startswith("_"))


def check(name: str) -> None:
    """Raises InputError when there is no sampler called `name`."""
    if name not in names():
        raise InputError(f'there is no sampler "{name}"{near_miss(name, names())}')


def make(name: str, pool: "Pool", seed: int) -> "optuna.samplers.BaseSampler":
    """The sampler called `name` for one proposal.

    What it proposes follows from the study, the pool and the seed alone.
    """
    check(name)
    made: optuna.samplers.BaseSampler = importlib.import_module(f"{__name__}.{name}").sampler(pool, seed)
    return made
