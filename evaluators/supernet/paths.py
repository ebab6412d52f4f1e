"""Which genotypes a supernet trains on, one for each batch."""

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
    """Genotypes of a space, without end.

    `uniform` draws each gene by itself (arXiv:1904.00420). `fair` deals each gene's values like cards: every value once, in
    random order, before any comes again, so that no kind of block is trained more often than another (strict fairness,
    arXiv:1907.01845, for every gene and with an update after each path). `sandwich` takes in turn a largest, a smallest and
    two fairly drawn genotypes (arXiv:1903.05134).
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
    """Chooses values of genes so that each comes once before any comes again."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._left: dict[str, list[Value]] = {}

    def __call__(self, gene: str, values: Sequence[Value]) -> Value:
        deck = self._left.setdefault(gene, [])
        if not deck:
            deck += self._rng.sample(values, len(values))
        return deck.pop()


def _extreme(pick: Callable[[Iterable[Any]], Any], otherwise: Chooser) -> Chooser:
    """Chooses the largest or smallest of numbers, and leaves to `otherwise` what has no size."""

    def choose(gene: str, values: Sequence[Value]) -> Value:
        return otherwise(gene, values) if isinstance(values[0], str) else pick(values)

    return choose
