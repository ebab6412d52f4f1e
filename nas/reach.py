"""How fast the networks of a space can be: whether a budget can be met at all, found in seconds without training."""

import random
import statistics
from collections.abc import Callable

from nas.study import Estimate
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace

_SAMPLES = 64


def check_budget(space: SearchSpace, estimate: Callable[[Genotype], Estimate], budget_ms: float) -> None:
    """Raises InputError, naming the fastest genotype's and the median's prediction, when nothing can hold the budget."""

    def bound_ms(genotype: Genotype) -> float:
        return estimate(genotype).bound_ms

    def predicted_ms(genotype: Genotype) -> float:
        return estimate(genotype).predicted_ms

    rng = random.Random(0)
    tables = [_random_genes(space, rng) for _ in range(_SAMPLES)]
    bounds = [bound_ms(space.decode(t)) for t in tables]
    if min(bounds) <= budget_ms:
        return
    fastest = space.decode(_descend(space, tables[bounds.index(min(bounds))], bound_ms))
    if bound_ms(fastest) > budget_ms:
        median = statistics.median(predicted_ms(space.decode(t)) for t in tables)
        raise InputError(
            f"no network of the space {space.name} can be trusted to hold {budget_ms:g} ms on this device: "
            f"the fastest is predicted at {predicted_ms(fastest):.2f} ms (upper bound {bound_ms(fastest):.2f} ms), "
            f"the median at {median:.2f} ms"
        )


def _random_genes(space: SearchSpace, rng: random.Random) -> dict[str, Value]:
    return {name: rng.choice(values) for name, values in space.genes.items()}


def _descend(space: SearchSpace, genes: dict[str, Value], bound_ms: Callable[[Genotype], float]) -> dict[str, Value]:
    """Takes the fastest value of one active gene after another until no change helps."""
    best, best_ms = genes, bound_ms(space.decode(genes))
    improved = True
    while improved:
        improved = False
        for name in _active(space, best):
            for value in space.genes[name]:
                changed = {**best, name: value}
                if value != best[name] and (ms := bound_ms(space.decode(changed))) < best_ms:
                    best, best_ms, improved = changed, ms, True
    return best


def _active(space: SearchSpace, genes: dict[str, Value]) -> list[str]:
    """Names of the genes that decoding reads."""
    read: list[str] = []

    def choose(name: str, _: object) -> Value:
        read.append(name)
        return genes[name]

    space.decode(choose)
    return read
