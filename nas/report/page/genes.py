"""Parallel coordinates of report.html: which genes the trained candidates have, by accuracy."""

from collections.abc import Sequence
from typing import Any

from nas.report.page.figures import Figure
from nas.run.trials import Proposal
from search_spaces.registry import Value

_MOST = 6  # axes for genes
_NONE = "–"  # for a gene that belongs to a block which the candidate lacks


def genes(trials: Sequence[Proposal], importances: tuple[dict[str, float], int] | None) -> Figure | None:
    """Parallel coordinates of the genes in which trained candidates differ, coloured by accuracy; None if there are no two.

    The most important genes (nas.run.importance), or else those that divide the candidates most evenly.
    """
    trained = [trial for trial in trials if trial.genes and trial.outcome in ("trained", "stopped")]
    names = sorted({name for trial in trained for name in trial.genes})
    columns = {name: [trial.genes.get(name, _NONE) for trial in trained] for name in names}
    differing = {name: column for name, column in columns.items() if len(set(column)) > 1}
    if not differing:
        return None
    ranks = importances[0] if importances else {name: -_largest(column) for name, column in differing.items()}
    chosen = sorted((name for name in differing if name in ranks), key=lambda name: -ranks[name])[:_MOST]
    accuracies = [100 * trial.accuracy for trial in trained]
    axes = [_axis(name, differing[name]) for name in chosen]
    line = {"color": accuracies, "colorscale": "Cividis", "showscale": True, "colorbar": {"title": {"text": "accuracy, %"}}}
    axes.append(_axis("accuracy, %", [round(value, 1) for value in accuracies]))
    return {
        "data": [{"type": "parcats", "dimensions": axes, "line": line, "hoveron": "color", "arrangement": "freeform"}],
        "layout": {"margin": {"l": 60, "r": 40, "t": 30, "b": 30}},
    }


def _axis(label: str, values: Sequence[Value]) -> dict[str, Any]:
    """An axis of the values as text, in their order: numbers, then words."""
    ordered = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    texts, order = (list(map(str, which)) for which in (values, ordered))
    return {"label": label, "values": texts, "categoryorder": "array", "categoryarray": order}


def _largest(column: Sequence[Value]) -> int:
    """How many candidates have the most frequent value."""
    return max(map(column.count, set(column)))
