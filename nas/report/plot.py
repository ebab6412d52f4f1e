"""Plots a run: accuracy against latency."""

import math
from typing import Any

from nas.run.folder import Run


def plot(run: Run, found: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Scatter plot of accuracy against latency: candidates, finalists, anchors with names, and the budget."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    _candidates(axes, [r for r in rows if not r["anchor"] and r["epochs"] == run.resolved.recipe.epochs])
    _retrained(axes, found)
    _best(axes, found["best"])
    _frame(axes, found)
    for suffix in ("png", "svg"):
        part = run.path / f".pareto.{suffix}"
        figure.savefig(part, dpi=140, format=suffix)
        part.replace(run.path / f"pareto.{suffix}")


def _candidates(axes: Any, rows: list[dict[str, Any]]) -> None:
    axes.scatter(
        [r["predicted_ms"] for r in rows],
        [100 * r["search_accuracy"] for r in rows],
        s=14,
        color="tab:blue",
        alpha=0.35,
        label="candidates trained for all epochs (predicted ms, search accuracy)",
    )


def _retrained(axes: Any, found: dict[str, Any]) -> None:
    known = [e for e in found["finalists"] + found["anchors"] if e["p50_ms"] and e["validation_accuracy"]]
    for kind, color, marker in (("anchors", "tab:orange", "s"), ("finalists", "tab:blue", "o")):
        entries = [e for e in known if (e["anchor"] is not None) == (kind == "anchors")]
        label = f"{kind}, retrained (measured p50 ms)"
        axes.scatter(
            *zip(*map(_place, entries), strict=True) if entries else ((), ()), s=40, color=color, marker=marker, label=label
        )
    for entry in (e for e in known if e["anchor"] is not None):
        axes.annotate(
            entry["anchor"],
            _place(entry),
            xytext=(3, -5),
            textcoords="offset points",
            rotation=-40,
            rotation_mode="anchor",
            verticalalignment="top",
            fontsize=8,
        )


def _best(axes: Any, best: dict[str, Any] | None) -> None:
    if best:
        x, y = _place(best)
        axes.scatter([x], [y], s=190, facecolors="none", edgecolors="tab:red", linewidths=1.6, label="best")


def _place(entry: dict[str, Any]) -> tuple[float, float]:
    return entry["p50_ms"], 100 * entry["validation_accuracy"]


def _frame(axes: Any, found: dict[str, Any]) -> None:
    if (budget_ms := found["budget_ms"]) is not None:
        axes.axvline(budget_ms, color="tab:red", linestyle="--", linewidth=1, label=f"budget {budget_ms:g} ms")
    if math.isfinite(axes.dataLim.minposx):  # there is something to show
        axes.set_xscale("log")
    axes.margins(y=0.18)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel="latency, ms", ylabel="validation accuracy, %")
    axes.set_title(f"{found['space']} on {found['data']}", parse_math=False)  # paths may contain dollar signs
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower left")
