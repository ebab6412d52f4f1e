"""Zero-cost scores: how good untrained networks look on one batch of images; one file a score, found by the folder.

A module here has a function `score(network, images, labels, generator) -> float`, higher is better; it leaves the network
as it was. Files that start with an underscore are helpers. Nothing heavy is imported until networks are scored.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from search_spaces.genotype import Genotype
from search_spaces.plugins import Modules
from search_spaces.task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from search_spaces.network import Network

_SCORES = Modules("scores", __name__, "zero-cost score")


class Score(Protocol):
    """A module of this folder.

    `network` is untrained; images float32 [B, C, S, S], normalised, B two or more; labels int64 [B]; whatever is random
    comes from the generator. Parameters, buffers and mode of the network stay as they were.
    """

    def score(self, network: "Network", images: "Tensor", labels: "Tensor", generator: "torch.Generator") -> float: ...


def names() -> list[str]:
    """The names of the scores, sorted."""
    return _SCORES.names()


def scores(
    genotype: Genotype, task: Task, images: "Tensor", labels: "Tensor", seed: int, *, names: Sequence[str] | None = None
) -> dict[str, float]:
    """The scores called `names`, or all, of the network of `genotype` with weights drawn from `seed`; higher is better.

    images float32 [B, *task.input], normalised, B two or more; labels int64 [B]; `task` is that of training. A score that
    is not finite comes out as -inf. Neither the other scores asked for nor torch's global generator make a difference.
    Raises InputError for an unknown name.
    """
    import torch

    from search_spaces.network import build

    assert tuple(images.shape[1:]) == task.input and len(images) > 1
    found_modules = modules(names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(genotype, task).to(images.device)
    found = {n: m.score(network, images, labels, torch.Generator().manual_seed(seed)) for n, m in found_modules.items()}
    return {name: value if math.isfinite(value) else -math.inf for name, value in found.items()}


def vote(table: Sequence[Mapping[str, float]]) -> list[float]:
    """For each network of `table` (its scores by name, the same names in each) the mean of its ranks; higher is better.

    A rank is the share of networks that score lower, plus half the share of those that score the same, itself included: 0
    to 1. A score that is not finite is lower than any other.
    """
    ranks = [_ranks([row[name] for row in table]) for name in (table[0] if table else ())]
    return [sum(row) / len(row) for row in zip(*ranks, strict=True)]


def modules(wanted: Sequence[str] | None = None) -> dict[str, Score]:
    """The modules of the scores called `wanted`, or of all; raises InputError for an unknown name."""
    for name in wanted or ():
        _SCORES.check(name)
    chosen = names() if wanted is None else wanted
    return {name: cast(Score, _SCORES.load(name)) for name in chosen}


def _ranks(values: Sequence[float]) -> list[float]:
    import numpy as np

    known = np.array([value if math.isfinite(value) else -math.inf for value in values])
    ordered = np.sort(known)
    ends = np.searchsorted(ordered, known, "left") + np.searchsorted(ordered, known, "right")
    return cast("list[float]", (ends / (2 * len(values))).tolist())
