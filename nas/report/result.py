"""Result of a run, derived from its journal: the contents of result.json and front.csv."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.latency.device.local_device import LOCALS
from nas.budget.latency_budget import BUSY
from nas.executors import evaluators
from nas.pareto import front
from nas.pipeline.ranking import OverSeeds, best_found, over_seeds, ranking
from nas.records import (
    Again,
    Checked,
    Ended,
    Final,
    Finished,
    Further,
    Measured,
    Note,
    Probe,
    Session,
    Survey,
    Tested,
)
from nas.report.rank_correlation import rank_correlations
from nas.run.folder import Run
from nas.run.memory import Memory, counts, read_journal
from nas.run.notes import as_json
from nas.run.trials import Proposal
from search_spaces.anchor import anchor as anchor_named
from search_spaces.anchor import base_name
from search_spaces.genotype import Genotype

_MEASURED = (
    *("p50_ms", "p90_ms", "mean_ms", "std_ms", "n", "robust_ms"),
    *("spread", "between", "contention", "sessions", "set_aside"),
)


def result(run: Run, memory: Memory | None = None) -> dict[str, Any]:
    """Contents of result.json so far, from the journal or its `memory`; milliseconds, accuracies 0..1, macs, params counts."""
    memory, rated = memory or read_journal(run.journal), run.config.evaluator
    ended = memory.records(Ended).get("search")
    return {
        "format": 3,
        "run": run.name,
        "finished": bool(memory.records(Finished)),
        **_options(run),
        **_networks(run, memory),
        "rank_correlations": rank_correlations(memory, "" if evaluators.load(rated).TRAINS else rated),
        "survey": _note(memory, Survey, "space"),
        "bound": _bound(memory.records(Checked), memory.trials),
        "further_search": _note(memory, Further, "search"),
        "counts": counts(memory.trials),
        "ended": ended.why if ended else "all candidates were proposed",
        "probed": _probed(memory),
        "machine": run.machine,
        "versions": run.versions,
        "wall_seconds": round(sum(s.seconds for s in memory.records(Session).values()), 1),
    }


def _options(run: Run) -> dict[str, Any]:
    """Options of the search."""
    config, known = run.config, run.resolved
    return {
        "budget": config.budget_text,
        "budget_ms": config.latency_budget_ms,
        "size_budget_bytes": config.size_budget_bytes,
        "memory_budget_bytes": config.memory_budget_bytes,
        "percentile": config.percentile,
        "confidence": config.confidence,
        "measured": config.measure,
        "device": config.device,
        "precision": known.precision,
        "sampler": config.sampler,
        "objectives": list(config.objectives),
        "seed": config.seed,
        "space": known.space,
        "data": config.data,
        "metric": config.metric,
        "donor": known.donor,
        "fit": config.fit,
        "epochs": {"search": known.recipe.epochs, "final": known.final_recipe.epochs},
        "distilled_from": config.distill,
    }


def _networks(run: Run, memory: Memory) -> dict[str, Any]:
    """Retrained networks: the winner, the best of the search, anchors, finalists; and measurement conditions."""
    measured, budget = memory.records(Measured), run.config.latency_budget(run.resolved.precision)
    finals = over_seeds(memory.records(Final), memory.records(Again))
    facts = _Records(memory.trials, finals, measured, memory.records(Tested))
    best, own, random = (best_found(finals, measured, budget, origin) for origin in ("", "search", "random"))
    found = facts.network(own) if own else None
    anchors = [facts.network(i) for i, final in finals.items() if final.anchor]
    finalists = [facts.network(i) for i, final in finals.items() if final.origin == "search"]
    for entry in (*anchors, *finalists):
        known = measured.get(entry["id"])
        entry["fits"] = (known is not None and known.held) if budget.measured else budget.bounded(entry["bound_ms"])
    over = {i: m for i, m in measured.items() if not m.held and facts.proposed(i)}
    figures = ("p50_ms", "p90_ms", "contention", "sessions")
    return {
        "verdict": verdict(found, anchors, run.config.budget_text, _unmeasured(run)),
        "best": facts.network(best) if best else None,
        "found": found,
        "anchors": sorted(anchors, key=lambda e: (not e["fits"], -(e["validation_accuracy"] or 0))),
        "finalists": sorted(finalists, key=lambda e: -(e["validation_accuracy"] or 0)),
        "baseline": _baseline(run, facts, random),
        "over_budget_when_measured": [{"id": i, **{k: getattr(m, k) for k in figures}} for i, m in over.items()],
        "busy": _busy(measured),
        "usual": next((m.usual for m in measured.values()), None),
    }


def points(run: Run, memory: Memory | None = None) -> list[dict[str, Any]]:
    """Rows of front.csv: every trained network, with predicted latency, search accuracy, and retraining if any."""
    memory = memory or read_journal(run.journal)
    finals, measured = over_seeds(memory.records(Final), memory.records(Again)), memory.records(Measured)
    rows = [_point(t, finals.get(t.genotype.id), measured.get(t.genotype.id)) for t in ranking(memory.trials, anchors=True)]
    cost = run.config.cost if run.config.cost in ("params", "macs") else "predicted_ms"
    on_front = set(front([(row[cost], row["search_accuracy"]) for row in rows]))
    for i, row in enumerate(rows):
        row["on_front"] = i in on_front
    return sorted(rows, key=lambda row: row["predicted_ms"])


def verdict(found: dict[str, Any] | None, anchors: list[dict[str, Any]], budget: str, unmeasured: str = "") -> str:
    """Whether the search beat the hand-designed networks within the `budget` (as text) in test accuracy.

    `unmeasured`: why nothing was measured; networks are then compared within the budget by predicted upper bound.
    """
    if unmeasured:
        rivals = [a for a in anchors if a["fits"] and a["test_accuracy"] is not None]
        compared = _compared(found, rivals, "with a predicted upper bound within the budget") if found and rivals else ""
        return f"{unmeasured} {compared}".strip()
    rivals = [a for a in anchors if a["fits"] and a["test_accuracy"] is not None]
    if found is None:
        return f"No network found by the search was within {budget} when measured."
    if found["test_accuracy"] is None:
        return "The run is not finished."
    if not rivals:
        return f"No hand-designed network was within {budget} when measured."
    return _compared(found, rivals, "within the budget")


def _compared(found: dict[str, Any], rivals: list[dict[str, Any]], within: str) -> str:
    rival = max(rivals, key=lambda a: a["test_accuracy"])
    if found["test_accuracy"] is None:
        return "The run is not finished."
    lead = 100 * (found["test_accuracy"] - rival["test_accuracy"])
    error = 100 * math.hypot(*(entry["test_error"] for entry in (found, rival)))
    which = f"the best hand-designed network {within} ({rival['anchor']}, {rival['test_accuracy']:.2%})"
    sure = "" if abs(lead) > 2 * error else "; not significant"
    if lead > 0:
        return f"The search beat {which} by {lead:.2f} ± {error:.2f} points on the test set{sure}."
    apart = f"{-lead:.2f} ± {error:.2f} points behind" if lead else f"as accurate (± {error:.2f} points)"
    return f"The search did NOT beat {which}: {found['test_accuracy']:.2%}, {apart} on the test set{sure if lead else ''}."


def test_error(accuracies: Sequence[float], images: int) -> float:
    """Standard error of a mean test accuracy, from the number of images and, if there are several, the seeds."""
    mean = statistics.fmean(accuracies)
    seeds = statistics.stdev(accuracies) / math.sqrt(len(accuracies)) if len(accuracies) > 1 else 0.0
    return math.hypot(math.sqrt(mean * (1 - mean) / images), seeds)


def _baseline(run: Run, facts: "_Records", found: str | None) -> dict[str, Any] | None:
    """Result of the random-search baseline; None if it was not requested."""
    if not run.config.baseline:
        return None
    trials = read_journal(run.journal, "random").trials
    return {"best": facts.network(found) if found else None, "counts": counts(trials)}


def _unmeasured(run: Run) -> str:
    """Why nothing was measured and what to do; empty if it was, or if there is no latency budget."""
    if run.config.measure or run.config.latency_budget_ms is None:
        return ""
    file = "the int8 file in export" if run.resolved.precision == "int8" else "export/model.onnx"
    if run.config.device in LOCALS:
        return f"Latency was not measured (--no-measure); measure {file} before relying on the budget."
    return f"Latency was not measured: device {run.config.device} is not this machine; measure {file} there."


def _bound(checked: Mapping[str, Checked], trials: list[Proposal]) -> dict[str, Any]:
    """Numbers of networks measured untrained during the search, over their bound, and over the budget."""
    scores = [c.score for c in checked.values() if c.score is not None]
    refused = {t.genotype.id for t in trials if t.outcome == "rejected" and t.estimate.timed_ms is not None}
    return {
        "checked": len(checked),
        "over_their_bound": sum(score > 1 for score in scores),
        "over_the_budget": len(refused),
        "largest_measured_over_bound": max(scores, default=None),
    }


def _busy(measured: Mapping[str, Measured]) -> dict[str, Any] | None:
    """The largest contention during measurements, if above 10 %."""
    largest = max((m.contention for m in measured.values()), default=0.0)
    return {"contention": largest} if largest > BUSY else None


class _Records:
    """Looks up a genotype id in the journal's records."""

    def __init__(
        self,
        trials: list[Proposal],
        finals: Mapping[str, OverSeeds],
        measured: Mapping[str, Measured],
        tests: Mapping[str, Tested],
    ) -> None:
        self._trials = {t.genotype.id: t for t in reversed(trials) if t.outcome not in ("rejected", "repeated")}
        self._finals, self._measured, self._tests = finals, measured, tests

    def proposed(self, genotype_id: str) -> bool:
        """Whether it is a candidate of the search, not an anchor or from random search."""
        trial = self._trials.get(genotype_id)
        return trial is not None and trial.anchor is None

    def network(self, genotype_id: str) -> dict[str, Any]:
        final, measured = self._finals[genotype_id], self._measured.get(genotype_id)
        trial = self._trials.get(genotype_id)
        name = final.anchor
        return {
            "id": genotype_id,
            "anchor": name,
            "published_top1": anchor_named(base_name(name)).published.top1 if name else None,
            "genotype": final.genotype,
            "input": list(Genotype.parse(final.genotype).input or ()),
            "inherited": final.inherited,
            "probe": final.probe,
            "predicted_ms": final.predicted_ms,
            "bound_ms": final.bound_ms,
            **{k: getattr(measured, k, None) for k in _MEASURED},
            "validation_accuracy": final.accuracy,
            "validation_by_seed": list(final.by_seed),
            **self._tested(genotype_id),
            "search_accuracy": trial.accuracy if trial and trial.accuracies else None,
            "params": final.params,
            "macs": final.macs,
            "size_bytes": final.size_bytes or None,
            "memory_bytes": final.memory_bytes or None,
            "failure": final.reason,
        }

    def _tested(self, genotype_id: str) -> dict[str, Any]:
        """Mean test accuracy, its standard error, and the accuracy per seed."""
        found = [t for key, t in self._tests.items() if key.partition("/")[0] == genotype_id]
        accuracies = [t.accuracy for t in found]
        return {
            "test_accuracy": statistics.fmean(accuracies) if found else None,
            "test_by_seed": accuracies,
            "test_error": test_error(accuracies, found[0].images) if found else None,
            "bytes": found[0].bytes if found else None,
            "float_test_by_seed": [t.float_accuracy for t in found if t.float_accuracy is not None],
            "float_bytes": found[0].float_bytes if found else None,
            "float_p50_ms": found[0].float_p50_ms if found else None,
            "confusion": [list(row) for row in found[0].confusion] if found else [],
            "mistakes": [list(one) for one in found[0].mistakes] if found else [],
        }


def _probed(memory: Memory) -> list[dict[str, Any]]:
    """Hand-designed networks within the budget, one entry per input, with linear probe accuracy; best first."""
    probes = [probe for probe in memory.records(Probe).values() if probe.accuracy is not None]
    found = [{"anchor": probe.anchor, "probe": probe.accuracy} for probe in probes]
    return sorted(found, key=lambda entry: -entry["probe"])


def _note(memory: Memory, kind: type[Note], name: str) -> dict[str, Any] | None:
    note = memory.records(kind).get(name)
    return as_json(note) if note else None


def _point(trial: Proposal, final: Final | None, measured: Measured | None) -> dict[str, Any]:
    return {
        "id": trial.genotype.id,
        "anchor": trial.anchor or "",
        "trial": trial.number,
        "predicted_ms": trial.estimate.latency_ms,
        "bound_ms": trial.estimate.bound_ms,
        "measured_p50_ms": measured.p50_ms if measured else "",
        "params": trial.estimate.params,
        "macs": trial.estimate.macs,
        "input": "x".join(map(str, trial.genotype.input or ())),
        "inherited": "" if trial.inherited is None else trial.inherited,
        "probe": "" if trial.probe is None else trial.probe,
        "epochs": len(trial.accuracies),
        "search_accuracy": trial.accuracy,
        "final_accuracy": "" if final is None or final.accuracy is None else final.accuracy,
    }
