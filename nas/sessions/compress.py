"""Compress a trained network: search the narrower and shallower networks around it, which inherit its weights."""

from dataclasses import replace
from pathlib import Path

from evaluators.weights import GENOTYPE, WEIGHTS
from nas.run.config import SearchConfig
from search_spaces.anchor import anchor_names
from search_spaces.errors import InputError, near_miss, quoted
from search_spaces.narrower import NARROWER
from search_spaces.resources import expanded


def compressing(network: str, config: SearchConfig) -> SearchConfig:
    """The search that compresses `network`: an anchor, or a folder of `nas train`, `nas export` or a run.

    A folder brings its weights. An anchor's are those of `config.weights`, a file or a donor; without, those of its own name.
    Raises InputError for anything else.
    """
    path = expanded(network)
    if path.is_dir():
        if config.weights:
            raise InputError(f"{network} has its own weights; leave out --weights")
        return replace(config, space=f"{NARROWER}{_genotype(path)}", weights=network)
    if network not in anchor_names():
        known = "an anchor, or a folder of `nas train`, `nas export` or a run"
        raise InputError(f"{quoted(network)} is not {known}{near_miss(network, anchor_names())}")
    weights = config.weights or network
    if expanded(weights).is_file():
        weights = f"{network}={weights}"
    if (name := weights.partition("=")[0]) in anchor_names() and name != network:
        raise InputError(f"--weights {weights} are of {name}, not of {network}")
    return replace(config, space=f"{NARROWER}{network}", weights=weights)


def _genotype(folder: Path) -> Path:
    """The genotype file beside the weights in a folder, or in export/ in it."""
    for place in (folder, folder / "export"):
        if (place / GENOTYPE).is_file() and (place / WEIGHTS).is_file():
            return place / GENOTYPE
    raise InputError(f"{folder} holds no trained network: {GENOTYPE} and {WEIGHTS}, as written by `nas train` and `nas export`")
