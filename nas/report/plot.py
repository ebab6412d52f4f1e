"""The plot of a run: accuracy over latency."""

from typing import Any

from nas.run.folder import Run


def plot(run: Run, found: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Accuracy over latency: the trained candidates faint, retrained networks and anchors by name, the budget as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    searched = [r for r in rows if not r["anchor"] and r["epochs"] == run.resolved.recipe.epochs]
    axes.scatter(
        [r["predicted_ms"] for r in searched],
        [100 * r["search_accuracy"] for r in searched],
        s=14,
        color="tab:blue",
        alpha=0.35,
        label="candidates not stopped early (predicted ms, accuracy in the search)",
    )
    retrained = [e for e in found["finalists"] + found["anchors"] if e["p50_ms"] and e["validation_accuracy"]]
    for kind, color, marker in (("anchors", "tab:orange", "s"), ("finalists", "tab:blue", "o")):
        entries = [e for e in retrained if (e["anchor"] is not None) == (kind == "anchors")]
        axes.scatter(
            [e["p50_ms"] for e in entries],
            [100 * e["validation_accuracy"] for e in entries],
            s=40,
            color=color,
            marker=marker,
            label=f"{kind}, retrained (measured p50 ms)",
        )
    for entry in found["anchors"]:
        if entry in retrained:
            axes.annotate(
                entry["anchor"],
                (entry["p50_ms"], 100 * entry["validation_accuracy"]),
                xytext=(3, -5),
                textcoords="offset points",
                rotation=-40,
                rotation_mode="anchor",
                verticalalignment="top",
                fontsize=8,
            )
    best = found["best"]
    if best:
        axes.scatter(
            [best["p50_ms"]],
            [100 * best["validation_accuracy"]],
            s=190,
            facecolors="none",
            edgecolors="tab:red",
            linewidths=1.6,
            label="best",
        )
    axes.axvline(found["budget_ms"], color="tab:red", linestyle="--", linewidth=1, label=f"budget {found['budget_ms']:g} ms")
    axes.set_xscale("log")
    axes.margins(y=0.18)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel="latency, ms", ylabel="validation accuracy, %")
    axes.set_title(f"{found['space']} on {found['data']}", parse_math=False)  # a dollar sign in a path opens no formula
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower left")
    for suffix in ("png", "svg"):
        part = run.path / f".pareto.{suffix}"
        figure.savefig(part, dpi=140, format=suffix)
        part.replace(run.path / f"pareto.{suffix}")
