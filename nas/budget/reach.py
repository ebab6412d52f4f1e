"""Whether any network of a space is within the limits, and which limit is the tightest if none is."""

import math
from collections.abc import Callable, Sequence

from evaluators.limits import Limits, bytes_text
from nas.budget.estimate import Estimate
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace

Estimates = Callable[[Sequence[Genotype]], Sequence[Estimate]]
Sample = tuple[Estimate, dict[str, Value]]


def why_none_fits(space: SearchSpace, estimate: Estimates, limits: Limits, samples: Sequence[Sample]) -> str:
    """What keeps every network over the limits; empty if the one found by descent from the nearest sample is within them.

    `estimate` is batched; `samples` are estimated genes of the space.
    """

    def nearest(limits: Limits) -> Estimate:
        start = min(samples, key=lambda sample: sample[0].excess(limits))[1]
        [reached] = estimate([space.decode(_descend(space, start, estimate, limits))])
        return reached

    closest = nearest(limits)
    if closest.fits(limits):
        return ""
    each = {
        "latency": Limits(latency_ms=limits.latency_ms),
        "size": Limits(size_bytes=limits.size_bytes),
        "memory": Limits(memory_bytes=limits.memory_bytes),
    }
    shares = closest.shares(limits)
    least = {name: nearest(each[name]) for name in shares}
    missed = {name: reached.excess(each[name]) for name, reached in least.items() if not reached.fits(each[name])}
    found = "; ".join(f"{_LEAST[name]} {_need(name, least[name])}" for name in missed)
    if not missed:
        needs = ", ".join(f"{_NAMES[name]} {_need(name, closest)}" for name in shares)
        missed, found = shares, f"each can be met alone; the network nearest to all has {needs}"
    return found + (f"; the tightest is {_NAMES[max(missed, key=missed.__getitem__)]}" if len(missed) > 1 else "")


_NAMES = {"latency": "latency", "size": "weights", "memory": "memory"}
_LEAST = {"latency": "the fastest is predicted at", "size": "the smallest has weights of", "memory": "the least memory is"}


def _need(name: str, found: Estimate) -> str:
    if name == "latency":
        return f"{found.predicted_ms:.2f} ms (upper bound {found.bound_ms:.2f} ms)"
    return bytes_text(found.size_bytes if name == "size" else found.memory_bytes)


def _descend(space: SearchSpace, genes: dict[str, Value], estimate: Estimates, limits: Limits) -> dict[str, Value]:
    """Coordinate descent: set one active gene after another to its best value, until nothing improves or it fits."""

    def excess(table: dict[str, Value]) -> float:
        [found] = estimate([space.decode(table)])
        usable = math.isinf(limits.latency_ms) or (math.isfinite(found.predicted_ms) and found.covered)
        return found.excess(limits) if usable else math.inf

    best, least, improved = genes, excess(genes), True
    while improved and least > 1:
        improved = False
        for name in _active(space, best):
            for value in space.genes[name]:
                changed = {**best, name: value}
                if value != best[name] and (found := excess(changed)) < least:
                    best, least, improved = changed, found, True
    return best


def _active(space: SearchSpace, genes: dict[str, Value]) -> list[str]:
    """Names of the genes that decoding uses."""
    read: list[str] = []

    def choose(name: str, _: object) -> Value:
        read.append(name)
        return genes[name]

    space.decode(choose)
    return read
