"""What a run found, derived from its journal: a plain dictionary (result.json) and the points of its Pareto front."""

from typing import Any

from nas.pareto import front
from nas.run import Run
from nas.search import best_found, ranking
from nas.study import Proposal, counts, read_journal
from search_spaces.anchor import anchor as anchor_named


def result(run: Run) -> dict[str, Any]:
    """Everything that is known of a run so far. Latencies are in milliseconds, accuracies 0..1, macs and params counts."""
    memory = read_journal(run.journal)
    trials = memory.trials
    finals, measured, tests = (memory.notes(kind) for kind in ("final", "measured", "test"))
    facts = _Facts(trials, finals, measured, tests)
    budget = run.config.budget_ms
    winner = best_found(finals, measured, budget, origin="")
    found = best_found(finals, measured, budget)
    reference = [facts.network(i) for i, final in finals.items() if final["origin"].startswith("anchor:")]
    for entry in reference:
        entry["fits"] = entry["p50_ms"] is not None and entry["p50_ms"] <= budget
    return {
        "format": 1,
        "run": run.name,
        "finished": bool(memory.notes("finished")),
        "budget_ms": budget,
        "verdict": verdict(facts.network(found) if found else None, reference, budget),
        "best": facts.network(winner) if winner else None,
        "found": facts.network(found) if found else None,
        "anchors": sorted(reference, key=lambda e: (not e["fits"], -(e["validation_accuracy"] or 0))),
        "finalists": sorted(
            (facts.network(i) for i, final in finals.items() if final["origin"] == "search"),
            key=lambda e: -(e["validation_accuracy"] or 0),
        ),
        "over_budget_when_measured": [
            {"id": i, "p50_ms": m["p50_ms"]}
            for i, m in measured.items()
            if m["p50_ms"] > budget and not any(e["id"] == i for e in reference)
        ],
        "counts": counts(trials),
        "ended": memory.notes("ended").get("search", {}).get("why", "all candidates were asked for"),
        "seed": run.config.seed,
        "space": run.config.space,
        "data": run.config.data,
        "training_input": [3, run.config.train_size, run.config.train_size],
        "deployment_input": list(run.space().input),
        "epochs": {"search": run.config.recipe.epochs, "final": run.config.recipe.final_epochs},
        "machine": run.machine,
        "versions": run.versions,
        "wall_seconds": round(sum(s["seconds"] for s in memory.notes("session").values()), 1),
    }


def points(run: Run) -> list[dict[str, Any]]:
    """Every trained network: predicted latency, last accuracy in the search, figures of its retraining if there was one."""
    memory = read_journal(run.journal)
    finals, measured = memory.notes("final"), memory.notes("measured")
    rows = [
        _point(t, finals.get(t.genotype.id, {}), measured.get(t.genotype.id, {})) for t in ranking(memory.trials, anchors=True)
    ]
    on_front = set(front([(row["predicted_ms"], row["search_accuracy"]) for row in rows]))
    for i, row in enumerate(rows):
        row["on_front"] = i in on_front
    return sorted(rows, key=lambda row: row["predicted_ms"])


def verdict(found: dict[str, Any] | None, anchors: list[dict[str, Any]], budget_ms: float) -> str:
    """One sentence: whether the search beat the hand-designed networks, by accuracy on the test part."""
    rivals = [a for a in anchors if a["fits"] and a["test_accuracy"] is not None]
    if found is None:
        return f"No network that the search found held {budget_ms:g} ms when it was measured."
    if found["test_accuracy"] is None:
        return "The run is not finished."
    if not rivals:
        return f"No hand-designed network held {budget_ms:g} ms when it was measured."
    rival = max(rivals, key=lambda a: a["test_accuracy"])
    lead = 100 * (found["test_accuracy"] - rival["test_accuracy"])
    which = f"the best hand-designed network within the budget ({rival['anchor']}, {rival['test_accuracy']:.2%})"
    if lead > 0:
        return f"The search beat {which} by {lead:.2f} points on the test part."
    return f"The search did NOT beat {which}: {found['test_accuracy']:.2%}, {-lead:.2f} points behind on the test part."


class _Facts:
    """Looks up what the journal knows of a genotype id."""

    def __init__(
        self,
        trials: list[Proposal],
        finals: dict[str, dict[str, Any]],
        measured: dict[str, dict[str, Any]],
        tests: dict[str, dict[str, Any]],
    ) -> None:
        self._trials = {t.genotype.id: t for t in reversed(trials) if t.outcome not in ("rejected", "repeated")}
        self._finals, self._measured, self._tests = finals, measured, tests

    def network(self, genotype_id: str) -> dict[str, Any]:
        final, measured = self._finals[genotype_id], self._measured.get(genotype_id, {})
        trial = self._trials.get(genotype_id)
        origin = final["origin"]
        name = origin.removeprefix("anchor:") if origin.startswith("anchor:") else None
        return {
            "id": genotype_id,
            "anchor": name,
            "published_top1": anchor_named(name).published.top1 if name else None,
            "genotype": final["genotype"],
            "predicted_ms": final.get("predicted_ms"),
            "bound_ms": final.get("bound_ms"),
            **{k: measured.get(k) for k in ("p50_ms", "p90_ms", "mean_ms", "std_ms", "n")},
            "validation_accuracy": final.get("accuracy"),
            "test_accuracy": self._tests.get(genotype_id, {}).get("accuracy"),
            "search_accuracy": trial.accuracy if trial and trial.accuracies else None,
            "params": final["params"],
            "macs": final["macs"],
            "failure": final.get("reason"),
        }


def _point(trial: Proposal, final: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": trial.genotype.id,
        "anchor": trial.anchor or "",
        "trial": trial.number,
        "predicted_ms": trial.estimate.predicted_ms,
        "bound_ms": trial.estimate.bound_ms,
        "measured_p50_ms": measured.get("p50_ms", ""),
        "params": trial.estimate.params,
        "macs": trial.estimate.macs,
        "epochs": len(trial.accuracies),
        "search_accuracy": trial.accuracy,
        "final_accuracy": final.get("accuracy", ""),
    }
