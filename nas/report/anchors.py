"""`nas anchors`: list hand-designed networks, and check their published figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nas.budget.device import find_predictor
from nas.console import make_bar, make_console
from search_spaces.anchor import Anchor, anchor, anchor_names
from search_spaces.anchor import anchors as all_anchors
from search_spaces.errors import InputError
from search_spaces.space_file import load_space

if TYPE_CHECKING:
    from nas.report.anchor_check import Figure


def anchors(device: str, names: Sequence[str]) -> None:
    """Print a table of hand-designed networks: all, or those with these names."""
    from evaluators.latency.device.profile import LOCAL

    console = make_console()
    predictor = find_predictor(device, load_space("mobile"))
    table = Table(title="Hand-designed networks", title_justify="left")
    for column in ("anchor", "family", "params M", "MACs M", "top-1", "predicted ms", "source of the published figures"):
        table.add_column(column, justify="left" if column[0] in "afs" else "right", overflow="fold")
    for a in _chosen(names):
        top1 = "-" if a.published.top1 is None else f"{a.published.top1:.1f}"
        figures = (f"{a.params / 1e6:.2f}", f"{a.macs / 1e6:.0f}", top1, _predicted(predictor, a))
        table.add_row(a.name, a.family, *figures, a.published.source)
    console.print(table)
    if predictor:
        slower = predictor.usual_slowdown - 1
        console.print(f"Predicted latency is under typical load, {slower:.0%} slower than on a quiet machine.")
    else:
        where = "this machine" if device == LOCAL else device
        console.print(f"No predicted latency: {where} has not been measured for the space mobile; run `nas device measure`.")


def check_anchors(names: Sequence[str]) -> None:
    """Rebuild anchors and print how their params and MACs differ from their files and from published figures.

    Raises InputError if they differ from a file.
    """
    from nas.report.anchor_check import check

    console, chosen, wrong = make_console(), _chosen(names), []
    table = Table(title="Rebuilt anchors", title_justify="left")
    for column in ("anchor", "params", "MACs", "file", "published params", "published MACs", "counted by", "verdict"):
        table.add_column(column, justify="left" if column[0] in "acv" else "right", overflow="fold")
    with make_bar(console, transient=True) as bar:
        for a in bar.track(chosen, description="rebuilding"):
            found = check(a)
            wrong += [] if found.exact else [a.name]
            on_file = "same" if found.exact else f"{a.params:,} {a.macs:,}"
            printed = (_printed(figure) for figure in (found.printed_params, found.printed_macs))
            table.add_row(a.name, f"{found.params:,}", f"{found.macs:,}", on_file, *printed, found.rules, found.verdict)
    console.print(table)
    console.print(f"{len(chosen)} anchors rebuilt; params and MACs of {len(chosen) - len(wrong)} match their files.")
    if wrong:
        raise InputError(f"params or MACs do not match the file: {', '.join(wrong)}")


def _printed(figure: "Figure | None") -> str:
    return "-" if figure is None else f"{figure.printed_m:g} M ({figure.difference:+.1%})"


def _chosen(names: Sequence[str]) -> list[Anchor]:
    """Anchors with these names, all variants if only a file's name is given; all anchors if there are no names."""
    found: dict[str, Anchor] = {}
    for name in names:
        variants = [n for n in anchor_names() if n.partition(":")[0] == name] or [name]
        found |= {n: anchor(n) for n in variants}
    return list(found.values()) if names else all_anchors()


def _predicted(predictor: Any, entry: Any) -> str:
    if predictor is None:
        return "-"
    try:
        return f"{predictor.usual_slowdown * predictor.predict(entry.genotype, entry.task).ms:.2f}"
    except InputError:
        return "not covered"
