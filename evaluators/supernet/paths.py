"""Samples the genotypes that a supernet trains on, one per batch."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

from search_spaces.genes import Chooser
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace

Sampling = Literal["uniform", "fair", "sandwich"]
SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)


def paths(space: SearchSpace, sampling: Sampling, rng: random.Random) -> Iterator[Genotype]:
    """An infinite stream of genotypes of a space.

    `uniform` draws each gene independently (arXiv:1904.00420). `fair` draws each gene's values without replacement, so that no
    block kind is trained more often than another (strict fairness, arXiv:1907.01845, here for every gene and with an update
    after each path). `sandwich` cycles through a largest, a smallest and two fairly drawn genotypes (arXiv:1903.05134).
    """
    if sampling == "uniform":
        while True:
            yield space.sample(rng)
    deal = _Decks(rng)
    turns: list[Chooser] = [deal] if sampling == "fair" else [_extreme(max, deal), _extreme(min, deal), deal, deal]
    while True:
        for choose in turns:
            yield space.decode(choose)


class _Decks:
    """Draws values of genes without replacement, reshuffling once all were drawn."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._left: dict[str, list[Value]] = {}

    def __call__(self, gene: str, values: Sequence[Value]) -> Value:
        deck = self._left.setdefault(gene, [])
        if not deck:
            deck += self._rng.sample(values, len(values))
        return deck.pop()


def _extreme(pick: Callable[[Iterable[Any]], Any], otherwise: Chooser) -> Chooser:
    """Chooses the largest or smallest number, and leaves non-numeric values to `otherwise`."""

    def choose(gene: str, values: Sequence[Value]) -> Value:
        return otherwise(gene, values) if isinstance(values[0], str) else pick(values)

    return choose
