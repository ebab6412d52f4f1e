"""Which networks of a space are timed for a profile: those to fit to meet every choice often, the others are drawn."""

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
    """How many networks are measured to fit to and to verify with, and the seconds spent timing them."""

    fit: int
    verify: int
    seconds: float


EFFORTS = {"quick": Effort(20, 20, 20.0), "normal": Effort(42, 22, 60.0), "full": Effort(120, 60, 240.0)}


@dataclass(frozen=True)
class Chosen:
    """A network to time, its number of classes, and whether it is to be fitted to or to verify with."""

    genotype: Genotype
    classes: int
    split: Split


def choose_networks(space: SearchSpace, fit: int, verify: int, seed: int) -> list[Chosen]:
    """Networks of a space to time: `verify` drawn at random, `fit` picked so that every choice is met often.

    They are drawn at all inputs of the space, padded in both ways (`SearchSpace.padding`), in turns.
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
    """Greedy: next always the network whose kinds, knobs and widths were met least so far, at the input met least."""
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
    """What a network has that is to be met: kinds by resolution, width, knobs, amount of work, and whether they read whole
    blocks of channels, as runtimes have other code for each.
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
