"""Prints the result table of a search: the winner, hand-designed networks, and counts."""

import math
import statistics
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from evaluators.limits import bytes_text
from nas.budget.latency_budget import SESSIONS, SPARE
from search_spaces.anchor import base_name

_COLUMNS = ("network", "input", "test %", "val. %", "ms", "predicted", "params", "MACs", "fits")  # fits 100 columns
_TIGHT: dict[str, Any] = {"collapse_padding": True, "pad_edge": False, "show_edge": False}
_COLUMNS_SIZES = ("weights", "memory")
_COLUMNS_INT8 = ("float32 %", "float32 ms")
_QUANTISED = (
    "Accuracies, latencies and files are of networks quantised to int8, calibrated on training images; "
    "float32: test accuracy, p50 latency and file before."
)


def show(console: Console, found: dict[str, Any]) -> None:
    """Print the result table, with notes on accuracy, latency and counts, and the verdict; report.html has more figures."""
    console.print(_networks(found))
    for entry in found["anchors"]:
        if entry["failure"]:
            console.print(f"{base_name(entry['anchor'])}: {entry['failure']}", highlight=False)
    if found["precision"] == "int8":
        console.print(_QUANTISED, highlight=False)
    n = found["counts"]
    console.print(
        f"Accuracy ({found['metric']}) on {found['data']}, each network at its own input; same recipe for all, "
        f"{_epochs(found['epochs']['final'])}{_distilled(found)}; mean over seeds, with more seeds for the leaders within the "
        f"budget. {_inherited(found)}"
    )
    for line in [*_latency(found), *_sizes(found)]:
        console.print(line, highlight=False)
    console.print(
        f"{n['asked']} candidates proposed: {n['rejected']} rejected for exceeding the budget, {n['repeated']} repeated, "
        f"{n['screened']} probed but not trained, {n['trained']} trained ({n['stopped_early']} stopped early), {n['failed']} "
        f"failed; {n['anchors_trained']} anchors trained as first trials."
    )
    for line in [*_probed(found), *_rank_correlations(found["rank_correlations"]), *_baseline(found)]:
        console.print(line, highlight=False)
    console.print(found["verdict"], style="bold")


def _networks(found: dict[str, Any]) -> Table:
    """The best of the search, of random search (if run), and the anchors; the winner in bold."""
    table = Table(title=f"{found['run']}: budget {found['budget']}", title_justify="left", box=box.SIMPLE_HEAD, **_TIGHT)
    best, own, percentile = found["best"], found["found"], found["percentile"]
    more = _more_columns(found)
    for name in (*_COLUMNS, *more):
        table.add_column(
            name, justify="left" if name in ("network", "fits") else "right", no_wrap=name != "network", overflow="fold"
        )
    if own:
        table.add_row(*_row(own, "found " + own["id"], True, percentile, more), style="bold" if best == own else None)
        table.add_section()
    if found["baseline"] and (entry := found["baseline"]["best"]):
        table.add_row(*_row(entry, "random " + entry["id"], True, percentile, more))
        table.add_section()
    for entry in found["anchors"]:
        is_best = best is not None and entry["id"] == best["id"]
        style = "bold" if is_best else None if entry["fits"] else "dim"
        table.add_row(*_row(entry, base_name(entry["anchor"]), entry["fits"], percentile, more), style=style)
    return table


def _more_columns(found: dict[str, Any]) -> list[str]:
    """Columns for weights and memory, if they were limited, and for what was quantised."""
    sizes, int8 = _limits_sizes(found), found["precision"] == "int8"
    return [*(_COLUMNS_SIZES if sizes else ()), *(["file"] if sizes or int8 else []), *(_COLUMNS_INT8 if int8 else ())]


def _limits_sizes(found: dict[str, Any]) -> bool:
    """Whether weights or memory were limited."""
    return bool(found["size_budget_bytes"] or found["memory_budget_bytes"])


def _sizes(found: dict[str, Any]) -> list[str]:
    """What weights and memory mean, if they were limited."""
    if not _limits_sizes(found):
        return []
    weights, element = "4 bytes per parameter", "4 bytes"
    if found["precision"] == "int8":
        weights, element = "1 byte per weight of a convolution or linear layer, 4 bytes per other parameter", "1 byte"
    return [
        f"weights: {weights}, without the graph of the file. memory: largest total of feature maps alive at once, batch 1, "
        f"{element} per element."
    ]


def _inherited(found: dict[str, Any]) -> str:
    if not found["donor"]:
        return "All networks were randomly initialised."
    return f"Networks inherited weights from {found['donor']}."


def _probed(found: dict[str, Any]) -> list[str]:
    """Hand-designed networks that were probed but not retrained, each at its best input."""
    shown = {base_name(entry["anchor"]) for entry in found["anchors"]}
    best: dict[str, dict[str, Any]] = {}
    for entry in found["probed"]:
        best.setdefault(base_name(entry["anchor"]), entry)
    others = [f"{e['anchor']} {e['probe']:.2%}" for name, e in best.items() if name not in shown]
    return [f"Other hand-designed networks, best linear probe: {', '.join(others)}."] if others else []


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _distilled(found: dict[str, Any]) -> str:
    return f", distilled from {found['distilled_from']}" if found["distilled_from"] else ""


def _rank_correlations(steps: list[dict[str, Any]]) -> list[str]:
    """Rank correlations between stages, to reveal a stage that does not rank."""
    known = [s for s in steps if s["spearman"] is not None]
    if not known:
        return []
    parts = (
        f"{s['lower']} -> {s['upper']} {s['spearman']:+.2f} ({s['low']:+.2f} to {s['high']:+.2f}, n={s['n']})" for s in known
    )
    return ["Rank correlation of each stage with the next (95 % interval): " + "; ".join(parts) + "."]


def _baseline(found: dict[str, Any]) -> list[str]:
    baseline, own = found["baseline"], found["found"]
    if not baseline:
        return []
    n, best = baseline["counts"], baseline["best"]
    if not best or best["test_accuracy"] is None or not own or own["test_accuracy"] is None:
        return [f"Random search, {n['trained']} trainings: no result to compare with."]
    lead = 100 * (own["test_accuracy"] - best["test_accuracy"])
    error = 100 * math.hypot(own["test_error"], best["test_error"])
    return [
        f"Random search, {n['trained']} trainings (search: {found['counts']['trained']} and the anchors): "
        f"{_plus_minus(best['test_accuracy'], best['test_error'])} %; lead of the search: {lead:+.2f} ± {error:.2f} points."
    ]


def _plus_minus(value: float | None, error: float | None) -> str:
    """In percent, without the sign."""
    return "-" if value is None else f"{100 * value:.2f}" + (f" ±{100 * error:.2f}" if error is not None else "")


def _latency(found: dict[str, Any]) -> list[str]:
    """How latency was measured or predicted, and caveats."""
    where = "at each network's input, batch 1"
    bound = f"predicted upper bound at confidence {found['confidence']:g}"
    if found["budget_ms"] is None:
        return [f"Latency: {'measured' if found['measured'] else 'predicted, NOT measured,'} {where}; it was not limited."]
    if not found["measured"]:
        return [f"Latency: predicted {where}, under typical load, NOT measured; fits: {bound} within the budget."]
    usual = "" if found["usual"] is None else f" ({found['usual']:.0%} slower than a quiet machine)"
    lines = [
        f"Latency: measured on the device {where}, in fresh processes; fits: p{found['percentile']} within the budget, with "
        f"{SPARE[found['precision']]:.0%} margin, under typical load{usual}, in at least {SESSIONS} sessions and a majority. "
        f"ms: p{found['percentile']}; predicted: under typical load."
    ]
    if found["busy"]:
        lines.append(f"The machine was up to {found['busy']['contention']:.0%} slower than when quiet during measurements.")
    if checked := found["bound"]["checked"]:
        over = found["bound"]["over_their_bound"]
        refused = found["bound"]["over_the_budget"]
        lines.append(
            f"{checked} networks were measured untrained during the search, because the bound was inconclusive or to check "
            f"it: {refused} were over the budget and not trained, {over} above their bound."
        )
    if found["over_budget_when_measured"]:
        lines.append(
            f"{len(found['over_budget_when_measured'])} of the best were over the budget when measured, and were excluded."
        )
    if further := found["further_search"]:
        lines.append(
            f"Too few were within the budget at first: {further['trials']} trials added, upper bound scaled by "
            f"{further['growth']:.3f}."
        )
    return lines


def _row(entry: dict[str, Any], name: str, fits: bool, percentile: int, more: list[str]) -> list[str]:
    height, width = entry["input"][1:]
    return [
        name,
        f"{height}" if height == width else f"{height}x{width}",
        _plus_minus(entry["test_accuracy"], entry["test_error"]),
        "failed" if entry["failure"] else _plus_minus(entry["validation_accuracy"], None),
        *("-" if entry[k] is None else f"{entry[k]:.2f}" for k in (f"p{percentile}_ms", "predicted_ms")),
        f"{entry['params'] / 1e6:.2f}M",
        f"{entry['macs'] / 1e6:.0f}M",
        "yes" if fits else "no",
        *map(_more_cells(entry).__getitem__, more),
    ]


def _more_cells(entry: dict[str, Any]) -> dict[str, str]:
    """Cells by column: bytes of weights, memory and exported file; test accuracy and p50 latency in float32."""

    def size(key: str) -> str:
        return bytes_text(entry[key]) if entry[key] else "-"

    floats, ms = entry["float_test_by_seed"], entry["float_p50_ms"]
    return {
        "weights": size("size_bytes"),
        "memory": size("memory_bytes"),
        "file": size("bytes"),
        "float32 %": _plus_minus(statistics.fmean(floats), None) if floats else "-",
        "float32 ms": "-" if ms is None else f"{ms:.2f}",
    }
