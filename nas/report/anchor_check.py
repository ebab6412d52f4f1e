"""An anchor rebuilt: its counts against those on file, and against what was printed by the rule of its source."""

from dataclasses import dataclass

from evaluators.cost import cost
from evaluators.counting import MACS_RULES, PARAMS_RULES, agrees, rule
from search_spaces.anchor import Anchor


@dataclass(frozen=True)
class Figure:
    """A printed figure in millions, and what is counted by its source's rule."""

    printed_m: float
    counted: int

    @property
    def difference(self) -> float:
        """How far the count is above the printed figure, as a share of it."""
        return self.counted / 1e6 / self.printed_m - 1

    @property
    def agrees(self) -> bool:
        return agrees(self.printed_m, self.counted)


@dataclass(frozen=True)
class Checked:
    """`exact`: params and MACs are those on file. `rules`: how the source counts. `verdict`: whether it prints the same."""

    params: int
    macs: int
    exact: bool
    printed_params: Figure | None
    printed_macs: Figure | None
    rules: str
    verdict: str


def check(known: Anchor) -> Checked:
    """Builds and counts the anchor; raises InputError when its file names a counting rule that does not exist."""
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
        return "nothing printed"
    return "as printed" if all(figure.agrees for figure in figures) else "differs from what is printed"
