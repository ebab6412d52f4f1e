"""Chooses the networks of a space to time: fit networks cover every choice often, verify networks are drawn at random."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, product
from typing import Any, NamedTuple, get_args

from evaluators.latency.device.profile import FIT, VERIFY, Split
from search_spaces.anchor import anchors
from search_spaces.genotype import Genotype, PaddingRule
from search_spaces.space import SearchSpace
from search_spaces.task import Input

_POOL = 400
_CLASSES = (10, 100, 1000)
_BLOCK = 16  # channels


class Effort(NamedTuple):
    """Numbers of fit and verify networks, and the seconds spent timing them."""

    fit: int
    verify: int
    seconds: float


EFFORTS = {"quick": Effort(20, 20, 20.0), "normal": Effort(42, 22, 60.0), "full": Effort(120, 60, 240.0)}


@dataclass(frozen=True)
class Chosen:
    """A network to time, its number of classes, and its split: fit or verify."""

    genotype: Genotype
    classes: int
    split: Split


def choose_networks(space: SearchSpace, fit: int, verify: int, seed: int) -> list[Chosen]:
    """Networks of a space to time: `verify` drawn at random, `fit` picked so that every choice occurs often.

    They alternate between all inputs of the space and both paddings (`SearchSpace.padding`).
    """
    rng = random.Random(seed)
    barred = {a.genotype.blocks for a in anchors()}
    ways = cycle([replace(space, inputs=(i,), padding=p) for i, p in product(space.inputs, get_args(PaddingRule))])
    drawn = (next(ways).sample(rng) for _ in range(_POOL))
    pool = list(dict.fromkeys(g for g in drawn if g.blocks not in barred))
    verified, rest = pool[:verify], pool[verify:]
    fitted = _covering(rest, fit)
    return [
        Chosen(genotype, rng.choice(_CLASSES), split)
        for split, genotypes in ((FIT, fitted), (VERIFY, verified))
        for genotype in genotypes
    ]


def _covering(pool: Sequence[Genotype], count: int) -> list[Genotype]:
    """Greedy cover: always adds the network whose kinds, knobs and widths are rarest so far, at the rarest input."""
    tokens = {g: _tokens(g) for g in pool}
    met: Counter[tuple[Any, ...]] = Counter()
    inputs: Counter[Input | None] = Counter()
    chosen: list[Genotype] = []
    while len(chosen) < min(count, len(pool)):
        left = (g for g in pool if g not in chosen)
        best = max(left, key=lambda g: (-inputs[g.input], sum(1 / (1 + met[t]) ** 2 for t in tokens[g])))
        chosen.append(best)
        met.update(tokens[best])
        inputs[best.input] += 1
    return chosen


def _tokens(genotype: Genotype) -> set[tuple[Any, ...]]:
    """The properties to cover: kinds by resolution, width, knobs, amount of work, and whether a block's input channels are a
    multiple of the runtime's channel block, since runtimes have separate kernels for that.
    """
    found: set[tuple[Any, ...]] = set()
    width, *sides = genotype.input or (3, 0, 0)
    scale, pixels = 0, math.prod(sides)
    for spec in genotype.blocks:
        scale, pixels, read = scale + spec.stride - 1, pixels // spec.stride**2, width
        width = spec.out_width(read)
        arguments = spec.arguments()
        work = read * width * pixels * float(arguments.get("expand", 1)) * int(arguments.get("kernel", 1) or 1)
        found |= {(spec.kind, scale), (spec.kind, "width", spec.width), (spec.kind, "whole", read % _BLOCK == 0)}
        found |= {(spec.kind, "work", round(math.log2(1 + work)))}
        found |= {(spec.kind, knob, value) for knob, value in arguments.items()}
    return found
