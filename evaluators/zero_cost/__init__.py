"""Zero-cost scores: proxies for the accuracy of untrained networks, from one batch of images; one module per score.

Each module has a function `score(network, images, labels, generator) -> float`, higher is better, which does not modify the
network. Files with a leading underscore are helpers. Nothing heavy is imported until networks are scored.
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
    """A module in this folder.

    `network` is untrained; images float32 [B, C, S, S], normalised, B >= 2; labels int64 [B]; all randomness comes from the
    generator. Parameters, buffers and mode of the network are unchanged.
    """

    def score(self, network: "Network", images: "Tensor", labels: "Tensor", generator: "torch.Generator") -> float: ...


def names() -> list[str]:
    """The names of the scores, sorted."""
    return _SCORES.names()


def scores(
    genotype: Genotype, task: Task, images: "Tensor", labels: "Tensor", seed: int, *, names: Sequence[str] | None = None
) -> dict[str, float]:
    """The scores called `names`, or all, of the network of `genotype` with weights drawn from `seed`; higher is better.

    images float32 [B, *task.input], normalised, B >= 2; labels int64 [B]; `task` is the training task. Non-finite scores become
    -inf. Results do not depend on which other scores are computed, or on torch's global generator. Raises InputError for an
    unknown name.
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
    """The mean rank of each network in `table` (its scores by name, the same names in each row); higher is better.

    A rank, in 0..1, is the share of networks with a lower score plus half the share with the same score, itself included.
    Non-finite scores rank lowest.
    """
    ranks = [_ranks([row[name] for row in table]) for name in (table[0] if table else ())]
    return [sum(row) / len(row) for row in zip(*ranks, strict=True)]


def modules(wanted: Sequence[str] | None = None) -> dict[str, Score]:
    """The modules of the scores called `wanted`, or all; raises InputError for an unknown name."""
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
