"""Whether searches beat the hand-designed networks on real images: budgets x seeds, winner and anchors by the same recipe.

usage: python benchmarks/images.py FOLDER --data D [--space S] [--budgets B,...] [--seeds N] [--front] [-- FLAGS OF nas search]

Each (budget, seed) is a run of `nas search` in FOLDER, as anyone would start it; one that is there is resumed, and one that is
finished only read, so the table can be printed while the rest is still to come. With --front there is one run for each seed,
with the largest budget and the objectives accuracy and latency, which answers for all budgets as `nas best` does. For each
budget the network that the search found, the best on the validation set that holds it, stands against every anchor that held
the budget in all of its runs, on the test set: means over seeds, and the difference, paired by seed, with its 95 % interval
(Student's t over seeds; nan for one seed).
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from nas.report.front import retrained
from nas.run.folder import open_run
from nas.run.memory import read_journal

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--budgets", default="0.5ms,1ms,2ms", help="From the smallest to the largest.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--front", action="store_true")
    parser.add_argument("flags", nargs="*")
    asked = parser.parse_args()
    budgets = asked.budgets.split(",")
    runs = {(b, seed): asked.folder / f"{'front' if asked.front else b}-{seed}" for seed in range(asked.seeds) for b in budgets}
    for seed in range(asked.seeds):
        for budget in budgets[-1:] if asked.front else budgets:
            common = ["--space", asked.space, "--latency-budget", budget, "--data", asked.data, "--seed", str(seed)]
            front = ["--objectives", "accuracy,latency"] if asked.front else []
            _run(runs[budget, seed], [*common, *front, *asked.flags])
    for budget in budgets:
        _show(budget, [runs[budget, seed] for seed in range(asked.seeds)])


def _run(run: Path, flags: Sequence[str]) -> None:
    nas = [sys.executable, "-m", "nas"]
    command = [*nas, "resume", str(run)] if (run / "run.yaml").is_file() else [*nas, "search", *flags, "--run", str(run)]
    if not (run / "result.json").is_file() or not _read(run)["finished"]:
        subprocess.run(command, check=True)


def _read(run: Path) -> Result:
    found: Result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return found


def _show(budget: str, runs: Sequence[Path]) -> None:
    results = [_read(run) for run in runs]
    minutes = ", ".join(f"{r['wall_seconds'] / 60:.1f}" for r in results)
    trained = ", ".join(str(r["counts"]["trained"]) for r in results)
    print(f"\n{budget}, {len(results)} seeds; candidates trained {trained}; minutes {minutes}")
    print(f"{'':<20}{'ms, p50':>16}{'MACs M':>16}{'test %, mean':>14}{'by seed':>24}{'search leads by':>22}")
    within = [_within(run, result, budget) for run, result in zip(runs, results, strict=True)]
    found = [max(held, key=lambda f: f["validation_accuracy"], default=None) for held, _ in within]
    if any(f is None for f in found):
        print("a search found nothing within the budget")
        return
    _line("found by the search", found, "")
    for name in sorted(set.intersection(*(set(anchors) for _, anchors in within))):
        rivals = [anchors[name] for _, anchors in within]
        _line(name, rivals, _lead([f["test_accuracy"] - a["test_accuracy"] for f, a in zip(found, rivals, strict=True)]))


def _within(run: Path, result: Result, budget: str) -> tuple[list[Result], dict[str, Result]]:
    """The finalists and the anchors, by name, of a run that hold a budget."""
    opened = open_run(run)
    holds = {known.genotype_id: known.holds_ms for known in retrained(opened, read_journal(opened.journal))}

    def held(entries: Sequence[Result]) -> list[Result]:
        budget_ms = float(budget.removesuffix("ms"))
        return [e for e in entries if holds.get(e["id"], math.inf) <= budget_ms and e["test_accuracy"] is not None]

    return held(result["finalists"]), {a["anchor"]: a for a in held(result["anchors"])}


def _line(name: str, entries: Sequence[Result], lead: str) -> None:
    accuracies = [100 * e["test_accuracy"] for e in entries]
    by_seed = " ".join(f"{a:.2f}" for a in accuracies)
    times, macs = [e["p50_ms"] for e in entries], [e["macs"] / 1e6 for e in entries]
    spans = f"{min(times):.2f}-{max(times):.2f}", f"{min(macs):.1f}-{max(macs):.1f}"
    print(f"{name:<20}{spans[0]:>16}{spans[1]:>16}{statistics.fmean(accuracies):>14.2f}{by_seed:>24}{lead:>22}")


def _lead(differences: Sequence[float]) -> str:
    points = [100 * d for d in differences]
    if len(points) < 2:
        return f"{points[0]:+.2f} ± nan"
    half = student.ppf(0.975, len(points) - 1) * statistics.stdev(points) / len(points) ** 0.5
    return f"{statistics.fmean(points):+.2f} ± {half:.2f}"


if __name__ == "__main__":
    main()
