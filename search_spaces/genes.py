"""Genes: the named choices that define a genotype; a chooser is asked for those that decoding reads."""

from collections.abc import Callable, Mapping, Sequence

from search_spaces.errors import InputError
from search_spaces.registry import Value, show

Genes = Mapping[str, Value]
Chooser = Callable[[str, Sequence[Value]], Value]


def not_among(gene: str, value: Value, values: Sequence[Value]) -> InputError:
    """The error for a gene that cannot have this value."""
    return InputError(f"{gene}: {show(value)} is not among {', '.join(map(show, values))}")


def pick(choose: Chooser, gene: str, values: Sequence[Value]) -> Value:
    """The value of a gene; `choose` is not asked if there is only one."""
    return values[0] if len(values) == 1 else choose(gene, values)


def once(choose: Chooser) -> Chooser:
    """A chooser that asks `choose` once per gene, however many blocks read it."""
    chosen: dict[str, Value] = {}

    def ask(gene: str, values: Sequence[Value]) -> Value:
        if gene not in chosen:
            chosen[gene] = choose(gene, values)
        return chosen[gene]

    return ask


def from_table(genes: Genes) -> Chooser:
    """A chooser from a table of genes; raises InputError for a missing gene or a value outside the space."""

    def choose(gene: str, values: Sequence[Value]) -> Value:
        if gene not in genes:
            raise InputError(f"gene {gene} is missing")
        if genes[gene] not in values:
            raise not_among(f"gene {gene}", genes[gene], values)
        return genes[gene]

    return choose
