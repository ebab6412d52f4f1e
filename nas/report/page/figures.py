"""The figures of report.html, as data and layout of Plotly.

Colours are Okabe and Ito's, which people with colour vision deficiency tell apart; kinds also differ in their markers.
"""

from collections.abc import Sequence
from itertools import compress
from operator import not_
from typing import Any

from nas.pareto import front as front_of
from nas.records import Final
from nas.report.page.networks import name_of, networks_of
from nas.run.memory import Memory

BLUE, ORANGE, GREEN, GREY, RED = "#0072b2", "#e69f00", "#009e73", "#888888", "#d55e00"
_RUNS = (BLUE, ORANGE, GREEN, RED, "#cc79a7", "#56b4e9")
_SYMBOLS, _DASHES = ("circle", "square", "diamond", "triangle-up", "cross", "star"), ("solid", "dash", "dot", "dashdot")
_GENES = 12
Figure = dict[str, Any]


def front(found: dict[str, Any], rows: list[dict[str, Any]]) -> Figure | None:
    """Accuracy against latency: candidates as predicted, retrained networks as measured (if the run measures)."""
    how, figure = ("measured", "p50_ms") if found["measured"] else ("predicted, not measured", "predicted_ms")
    known = [e | {"ms": e[figure]} for e in networks_of(found) if e["validation_accuracy"] is not None and e[figure]]
    candidates = [row for row in rows if not row["anchor"] and row["predicted_ms"]]
    if not known and not candidates:
        return None
    traces = [
        _points(
            "candidates, after the search's epochs (predicted ms)",
            [(r["predicted_ms"], r["search_accuracy"], f"{r['id']} at {r['input']}") for r in candidates],
            {"color": GREY, "symbol": "circle-open", "size": 7},
        )
    ]
    for title, mine, marker in (
        (f"hand-designed, retrained ({how} ms)", [e for e in known if e["anchor"]], {"color": ORANGE, "symbol": "square"}),
        (f"found, retrained ({how} ms)", [e for e in known if not e["anchor"]], {"color": BLUE, "symbol": "circle"}),
    ):
        trace = _points(title, [(e["ms"], _accuracy(e), _words(e)) for e in mine], {**marker, "size": 11})
        trace["error_y"] = {"array": [200 * (e["test_error"] or 0) for e in mine], "thickness": 1}
        traces.append(trace)
    return {
        "data": traces,
        "layout": _layout("latency, ms (logarithmic)", f"{found['metric']}, %", xtype="log"),
        "networks": [{"name": e["name"], "ms": e["ms"], "accuracy": _accuracy(e), "set": _set(e)} for e in known],
        "budget": found["budget_ms"],
    }


def fronts(runs: Sequence[tuple[str, dict[str, Any]]]) -> Figure | None:
    """Validation accuracy against measured latency of the retrained networks of runs, given as (name, result)."""
    traces = [trace for number, (name, found) in enumerate(runs) for trace in _of_run(name, found, number)]
    layout = _layout("measured p50, ms (logarithmic)", f"validation {runs[0][1]['metric']}, %", xtype="log")
    return {"data": traces, "layout": layout} if traces else None


def _of_run(name: str, found: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """A run's measured networks and their front, in the colour and marker of the run with that number."""
    known = [e for e in networks_of(found) if e["validation_accuracy"] is not None and e["p50_ms"]]
    if not known:
        return []
    colour, symbol = _RUNS[number % len(_RUNS)], _SYMBOLS[number % len(_SYMBOLS)]
    places = [(e["p50_ms"], e["validation_accuracy"], f"{_words(e)}; {name}") for e in known]
    own = [bool(e["anchor"]) for e in known]
    best = [places[i] for i in front_of([(ms, accuracy) for ms, accuracy, _ in places])]
    line = _points(f"{name}: front", best, {}) | {"mode": "lines", "hoverinfo": "skip"}
    line["line"] = {"color": colour, "shape": "hv", "dash": _DASHES[number % len(_DASHES)]}
    return [
        _points(f"{name}: found", list(compress(places, map(not_, own))), {"color": colour, "symbol": symbol, "size": 10}),
        _points(
            f"{name}: hand-designed", list(compress(places, own)), {"color": colour, "symbol": f"{symbol}-open", "size": 10}
        ),
        line,
    ]


def _accuracy(entry: dict[str, Any]) -> float:
    """On the test set if known, else on the validation set."""
    return float(entry["validation_accuracy"] if entry["test_accuracy"] is None else entry["test_accuracy"])


def _set(entry: dict[str, Any]) -> str:
    return "validation" if entry["test_accuracy"] is None else "test"


def _words(entry: dict[str, Any]) -> str:
    size = "×".join(map(str, entry["input"][1:]))
    return f"{name_of(entry)} at {size}: {entry['params'] / 1e6:.2f} M params, {entry['macs'] / 1e6:.0f} M MACs"


def _points(title: str, places: list[tuple[float, float, str]], marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [x for x, _, _ in places],
        "y": [100 * y for _, y, _ in places],
        "text": [text for *_, text in places],
        "hovertemplate": "%{text}<br>%{x:.2f} ms, %{y:.2f} %<extra></extra>",
        "marker": marker,
    }


def _layout(x: str, y: str, *, xtype: str = "linear") -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}, "type": xtype, "automargin": True},
        "yaxis": {"title": {"text": y}, "automargin": True},
        "margin": {"l": 50, "r": 15, "t": 15, "b": 50},
        "legend": {"orientation": "h", "y": -0.25},
    }


def curves(memory: Memory, found: dict[str, Any]) -> Figure | None:
    """Validation accuracy after each epoch of the retrained networks."""
    names = {entry["id"]: entry["name"] for entry in networks_of(found)}
    known = {key: final for key, final in memory.records(Final).items() if final.accuracies and key in names}
    if not known:
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": names[key],
            "x": list(range(1, len(final.accuracies) + 1)),
            "y": [100 * accuracy for accuracy in final.accuracies],
            "line": {"dash": "dot" if final.anchor else "solid"},
        }
        for key, final in known.items()
    ]
    layout = _layout("epoch", "validation accuracy, %")
    layout["xaxis"]["dtick"] = max(1, max(len(final.accuracies) for final in known.values()) // 10)
    return {"data": traces, "layout": layout}


def predictions(found: dict[str, Any]) -> Figure | None:
    """Measured against predicted latency of the retrained networks, with the line on which they are equal."""
    known = [e for e in networks_of(found) if e["p50_ms"] and e["predicted_ms"]]
    if not known:
        return None
    all_ms = [e[figure] for e in known for figure in ("p50_ms", "predicted_ms")]
    ends = [min(all_ms), max(all_ms)]
    traces = [
        {"type": "scatter", "mode": "lines", "name": "equal", "x": ends, "y": ends, "line": {"color": GREY, "dash": "dash"}},
        {
            "type": "scatter",
            "mode": "markers",
            "name": "networks; the bar reaches up to the predicted bound",
            "x": [e["predicted_ms"] for e in known],
            "y": [e["p50_ms"] for e in known],
            "text": [e["name"] for e in known],
            "hovertemplate": "%{text}<br>predicted %{x:.2f} ms, measured %{y:.2f} ms<extra></extra>",
            "error_x": {"type": "data", "symmetric": False, "array": [e["bound_ms"] - e["predicted_ms"] for e in known]},
            "marker": {"color": GREEN, "symbol": "diamond", "size": 10},
        },
    ]
    for trace in traces[1:]:
        trace["error_x"]["arrayminus"] = [0] * len(known)  # type: ignore[index]
    return {"data": traces, "layout": _layout("predicted ms, under typical load", "measured p50, ms")}


def confusion(best: dict[str, Any], classes: list[str]) -> Figure | None:
    """The winner's confusion matrix on the test set."""
    if not best["confusion"]:
        return None
    heat = {
        "type": "heatmap",
        "z": best["confusion"],
        "x": classes,
        "y": classes,
        "colorscale": "Cividis",
        "hovertemplate": "%{y} named %{x}: %{z} images<extra></extra>",
        "colorbar": {"title": {"text": "images"}},
    }
    if len(classes) <= 20:
        heat["texttemplate"] = "%{z}"
    layout = _layout("predicted class", "class", xtype="category")
    layout["yaxis"]["autorange"] = "reversed"
    return {"data": [heat], "layout": layout}


def importances(found: tuple[dict[str, float], int] | None) -> Figure | None:
    """How much each gene mattered to the candidates' accuracy (nas.run.importance)."""
    if found is None:
        return None
    by_gene, trials = found
    names, values = zip(*list(by_gene.items())[:_GENES][::-1], strict=True)
    bars = {"type": "bar", "orientation": "h", "x": values, "y": names, "marker": {"color": BLUE}}
    return {"data": [bars], "layout": _layout(f"importance, of {trials} trained candidates", "gene")}
