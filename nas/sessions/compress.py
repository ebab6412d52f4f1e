"""Compress a trained network: search the narrower and shallower networks around it, which inherit its weights."""

from dataclasses import replace
from pathlib import Path

from evaluators.weights import GENOTYPE, WEIGHTS
from nas.run.config import SearchConfig
from search_spaces.anchor import anchor_names
from search_spaces.errors import InputError, near_miss, quoted
from search_spaces.narrower import NARROWER
from search_spaces.resources import expanded
from search_spaces.space_file import load_space


def compressing(network: str, config: SearchConfig) -> SearchConfig:
    """The search that compresses `network`: an anchor, or a folder of `nas train`, `nas export` or a run.

    A folder brings its weights. An anchor's are those of `config.weights`, a file or a donor; without, those of its own name.
    Raises InputError for anything else, and for a network that cannot be narrowed.
    """
    path = expanded(network)
    if path.is_dir():
        if config.weights:
            raise InputError(f"{network} has its own weights; leave out --weights")
        return _around(str(_genotype(path)), network, config)
    if network not in anchor_names():
        known = "an anchor, or a folder of `nas train`, `nas export` or a run"
        raise InputError(f"{quoted(network)} is not {known}{near_miss(network, anchor_names())}")
    weights = config.weights or network
    if expanded(weights).is_file():
        weights = f"{network}={weights}"
    if (name := weights.partition("=")[0]) in anchor_names() and name != network:
        raise InputError(f"--weights {weights} are of {name}, not of {network}")
    return _around(network, weights, config)


def _around(network: str, weights: str, config: SearchConfig) -> SearchConfig:
    space = f"{NARROWER}{network}"
    load_space(space)  # refuses before weights are looked for
    return replace(config, space=space, weights=weights)


def _genotype(folder: Path) -> Path:
    """The genotype file beside the weights in a folder, or in export/ in it."""
    for place in (folder, folder / "export"):
        if (place / GENOTYPE).is_file() and (place / WEIGHTS).is_file():
            return place / GENOTYPE
    raise InputError(f"{folder} holds no trained network: {GENOTYPE} and {WEIGHTS}, as written by `nas train` and `nas export`")
