"""Rebuilds an anchor and compares its params and MACs with its file and with the published figures."""

from dataclasses import dataclass

from evaluators.cost import cost
from evaluators.counting import MACS_RULES, PARAMS_RULES, agrees, rule
from search_spaces.anchor import Anchor


@dataclass(frozen=True)
class Figure:
    """A published figure in millions, and the count by its source's rule."""

    printed_m: float
    counted: int

    @property
    def difference(self) -> float:
        """Relative difference of the count from the published figure."""
        return self.counted / 1e6 / self.printed_m - 1

    @property
    def agrees(self) -> bool:
        return agrees(self.printed_m, self.counted)


@dataclass(frozen=True)
class Checked:
    """`exact`: params and MACs match the file. `rules`: how the source counts. `verdict`: whether they match the source."""

    params: int
    macs: int
    exact: bool
    printed_params: Figure | None
    printed_macs: Figure | None
    rules: str
    verdict: str


def check(known: Anchor) -> Checked:
    """Build the anchor and count params and MACs; raises InputError if its file names an unknown counting rule."""
    found, published = cost(known.genotype, known.task), known.published
    params_rule, macs_rule = rule(PARAMS_RULES, published.params_count), rule(MACS_RULES, published.macs_count)
    params, macs = (
        None if printed is None else Figure(printed, count(known.genotype, known.task))
        for printed, count in ((published.params_m, params_rule), (published.macs_m, macs_rule))
    )
    figures = [figure for figure in (params, macs) if figure]
    return Checked(
        params=found.params,
        macs=found.macs,
        exact=(found.params, found.macs) == (known.params, known.macs),
        printed_params=params,
        printed_macs=macs,
        rules=f"params {published.params_count}, MACs {published.macs_count}",
        verdict=_verdict(figures, published.unsettled),
    )


def _verdict(figures: list[Figure], unsettled: str) -> str:
    if unsettled:
        return f"unsettled: {unsettled}"
    if not figures:
        return "nothing published"
    return "as published" if all(figure.agrees for figure in figures) else "differs from published figures"
