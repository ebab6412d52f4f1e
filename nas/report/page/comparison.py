"""Writes comparison.html, one page that compares runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.report.page.compared import Side, remarks, rows, same_device, settings, sides_of
from nas.report.page.figures import fronts
from nas.report.page.render import rendered, write

COMPARISON = "comparison.html"


def write_comparison(paths: Sequence[Path], to: Path | None = None) -> dict[str, Any]:
    """Compare runs on one page, by default beside the first run; returns the comparison, with the path of the `page`.

    Raises InputError if the accuracies cannot be compared (other data set, test images or metric), or the page cannot be
    written.
    """
    sides = sides_of(paths)
    found = {"remarks": remarks(sides), "settings": settings(sides), "runs": rows(sides)}
    text = _page(sides, found)
    command = f"nas report {' '.join(map(str, paths))}"
    return {"page": str(write(to or paths[0].absolute().parent / COMPARISON, text, command)), **found}


def _page(sides: Sequence[Side], found: dict[str, Any]) -> str:
    first = sides[0].run.config
    drawn = {"fronts": fronts([(side.name, side.found) for side in sides]) if same_device(sides) else None}
    return rendered(
        "comparison.html", drawn, metric=first.metric, data_set=first.data, names=[side.name for side in sides], **found
    )
