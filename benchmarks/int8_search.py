"""Whether to search in int8, or in float32 and to quantise what was found: whole searches on photos, in pairs.

usage: python benchmarks/int8_search.py DATA FOLDER [--shares .25 .5 1] [--seeds N]

For each share of the latency of MobileNetV2 at 224x224 in either precision, and each seed: `nas search --precision int8` within
that share of its int8 latency, and `nas search` within that share of its float32 latency. What the latter found is quantised,
tested and timed in int8 in turns with what the former found. Searches have the command line's defaults. What is done is kept
in FOLDER and not done again when the script is started anew.
"""

import argparse
import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from whole_runs import anchor_ms, medians, nas, once, result_of

from evaluators.latency.runtime import DEFAULT
from search_spaces.genotype import Genotype

PRECISIONS = {"float32": DEFAULT, "int8": "onnxruntime_int8"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    whole = once(asked.folder / "mobilenet_v2.json", lambda: {p: anchor_ms("mobilenet_v2", r) for p, r in PRECISIONS.items()})
    for share in asked.shares:
        for seed in range(asked.seeds):
            budgets = {precision: share * ms for precision, ms in whole.items()}
            found = once(asked.folder / f"{share:g}-{seed}.json", lambda b=budgets, s=seed, n=share: pair(asked, b, s, n))
            print_pair(share, seed, found)


def pair(asked: argparse.Namespace, budgets: dict[str, float], seed: int, share: float) -> dict[str, Any]:
    """Both searches, and what each came to in int8."""
    runs = {p: asked.folder / f"{share:g}-{seed}-{p}" for p in PRECISIONS}
    results = {p: search(asked, p, budgets[p], seed, run) for p, run in runs.items()}
    exports = {"int8": runs["int8"] / "export", "float32": asked.folder / f"{share:g}-{seed}-quantised"}
    quantised = ("--network", results["float32"]["found"]["id"], "--precision", "int8", "--to", exports["float32"])
    nas("export", runs["float32"], *quantised)
    if (best := results["int8"]["best"]) and best["id"] != results["int8"]["found"]["id"]:
        exports["int8"] = asked.folder / f"{share:g}-{seed}-found"
        nas("export", runs["int8"], "--network", results["int8"]["found"]["id"], "--to", exports["int8"])
    times = medians([exports[p] / "model.int8.onnx" for p in PRECISIONS], PRECISIONS["int8"])
    cards = {p: json.loads((exports[p] / "model.json").read_text()) for p in PRECISIONS}
    found = {
        p: {
            "test": cards[p]["accuracy"]["test"],
            "float32_test": cards[p]["float32"]["test"],
            "int8_ms": ms,
            "genotype": results[p]["found"]["genotype"],
            "minutes": results[p]["wall_seconds"] / 60,
        }
        for p, ms in zip(PRECISIONS, times, strict=True)
    }
    rivals = [
        {k: entry[k] for k in ("anchor", "test_accuracy", "float_test_by_seed", "p50_ms", "float_p50_ms", "fits")}
        for entry in results["int8"]["anchors"]
    ]
    return {"budget_ms": budgets["int8"], "searched in": found, "hand-designed in int8": rivals}


def search(asked: argparse.Namespace, precision: str, budget_ms: float, seed: int, run: Path) -> dict[str, Any]:
    """The result of a search."""
    options = ("--precision", precision, "--seed", seed)
    return result_of(run, "search", "--data", asked.data, "--latency-budget", f"{budget_ms:.3f}ms", *options)


def print_pair(share: float, seed: int, found: dict[str, Any]) -> None:
    print(f"\nshare {share:g}, seed {seed}: int8 budget {found['budget_ms']:.2f} ms")
    for precision, one in found["searched in"].items():
        genotype = Genotype.parse(one["genotype"])
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(b.kind for b in genotype.blocks).most_common())
        print(
            f"  searched in {precision:<8} int8 test {one['test']:.2%} (float32 {one['float32_test']:.2%}), "
            f"{one['int8_ms']:.2f} ms at {'x'.join(map(str, (genotype.input or ())[1:]))}; {one['minutes']:.1f} min; {kinds}"
        )
    for entry in found["hand-designed in int8"]:
        floats = statistics.fmean(entry["float_test_by_seed"] or [float("nan")])
        tested = "not tested" if entry["test_accuracy"] is None else f"{entry['test_accuracy']:.2%}"
        fits = "within the budget" if entry["fits"] else "over the budget"
        print(f"  {entry['anchor']:<34} int8 test {tested} (float32 {floats:.2%}), {entry['p50_ms'] or 0:.2f} ms, {fits}")


if __name__ == "__main__":
    main()
