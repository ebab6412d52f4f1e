"""Whether to compress a trained network, or to search from its weights: whole runs on photos, in pairs.

usage: python benchmarks/compress.py DATA FOLDER --mobilenet-v2 WEIGHTS [--shares .5 .25] [--minutes M] [--seeds N]

For EfficientNet-Lite0 and MobileNetV2, and each share of the network's latency as published: `nas compress` and `nas search
--space mobile` from the same weights, with the same budget. Both propose candidates for M minutes, twice as long for shares of
one half and more. What they found is timed in turns. What is done is kept in FOLDER and not done again when the script is
started anew. WEIGHTS is a file of TensorFlow's MobileNetV2 1.0.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whole_runs import anchor_ms, medians, nas, once, result_of

from evaluators.latency.runtime import DEFAULT
from search_spaces.genotype import Genotype
from search_spaces.task import size_text

NETWORKS = {"efficientnet_lite:lite0-tf": "EfficientNet-Lite0", "mobilenet_v2:1.0-tf": "MobileNetV2"}
UNLIMITED = 1000  # candidates; time is the limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mobilenet-v2", required=True, metavar="WEIGHTS")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    whole = once(asked.folder / "latencies.json", lambda: {name: anchor_ms(name, DEFAULT) for name in NETWORKS})
    for seed in range(asked.seeds):
        for name, ms in whole.items():
            for share in asked.shares:
                print_pair(pair(asked, name, share, share * ms, seed), f"{NETWORKS[name]}, seed {seed}, {share:.0%}")


def pair(asked: argparse.Namespace, name: str, share: float, budget_ms: float, seed: int) -> Mapping[str, Any]:
    """Both runs' results, with the milliseconds of what they found."""
    weights = ("--weights", f"{name}={asked.mobilenet_v2}") if name.startswith("mobilenet_v2") else ()
    minutes = asked.minutes * (2 if share >= 0.5 else 1)
    limits = ("--latency-budget", f"{budget_ms:.3f}ms", "--trials", UNLIMITED, "--time", f"{minutes:g}m", "--seed", seed)
    roads = {"nas compress": ("compress", name), "nas search": ("search", "--space", "mobile")}
    found, files = {}, []
    for road, command in roads.items():
        run = asked.folder / f"{name.partition(':')[0]}-{share:g}-{seed}-{command[0]}"
        found[road] = result_of(run, *command, "--data", asked.data, *weights, *limits)
        files.append(export_of_found(run, found[road]) / "model.onnx")
    again = once(files[0].parents[1] / "again.json", lambda: medians(files, DEFAULT))
    return {"budget": budget_ms, "roads": found, "again": dict(zip(roads, again, strict=True))}


def export_of_found(run: Path, result: Mapping[str, Any]) -> Path:
    """The exported network that the search found; a hand-designed one may be better, and is then in `export`."""
    if result["best"] and result["best"]["id"] == result["found"]["id"]:
        return run / "export"
    folder = run / "found"
    if not folder.is_dir():
        nas("export", run, "--network", result["found"]["id"], "--to", folder)
    return folder


def print_pair(found: Mapping[str, Any], title: str) -> None:
    print(f"\n{title} of its latency: {found['budget']:.2f} ms")
    for road, result in found["roads"].items():
        one, counts = result["found"], result["counts"]
        input = Genotype.parse(one["genotype"]).input or (0, 0, 0)
        print(
            f"  {road:<13} test {one['test_accuracy']:.2%}, {found['again'][road]:.2f} ms at {size_text(input)}, "
            f"{one['params'] / 1e6:.2f} M params, {one['macs'] / 1e6:.0f} M MACs; {counts['trained']} trained; "
            f"{result['wall_seconds'] / 60:.1f} min",
            flush=True,
        )
        for entry in result["anchors"]:
            tested = "not tested" if entry["test_accuracy"] is None else f"{entry['test_accuracy']:.2%}"
            fits = "within" if entry["fits"] else "over"
            print(f"    {entry['anchor']:<34} test {tested}, {entry['p50_ms'] or 0:.2f} ms, {fits} the budget", flush=True)


if __name__ == "__main__":
    main()
