"""Ranking of trials and of retrained networks, and which of them can still win."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.pareto import front
from nas.records import Again, Final, Measured
from nas.run.trials import standing
from search_spaces.anchor import Anchor, base_name

if TYPE_CHECKING:
    from nas.budget.latency_budget import LatencyBudget
    from nas.run.trials import Proposal


ALIKE = 0.02  # tolerance for equal probe accuracies: one standard error at 400 images


def ranking(trials: "Iterable[Proposal]", anchors: bool = False) -> "list[Proposal]":
    """Trained trials, best first: by epochs trained, then by validation accuracy."""
    ended = [t for t in trials if t.outcome in ("trained", "stopped") and (anchors or t.anchor is None)]
    return sorted(ended, key=standing)


def rival_anchors(fitting: Sequence[Anchor], probes: Mapping[str, float], count: int, own: Set[str]) -> list[Anchor]:
    """Hand-designed networks to train for comparison, each at one input within the budget.

    The input is the largest whose probe matches the network's best, or the largest if there are no probes. With probes, the
    best `count` networks are selected, plus those in `own`.
    """
    best: dict[str, Anchor] = {}
    for name in dict.fromkeys(base_name(entry.name) for entry in fitting):
        family = [entry for entry in fitting if base_name(entry.name) == name]  # by size
        most = max(probes.get(entry.genotype.id, 0.0) for entry in family)
        best[name] = [entry for entry in family if probes.get(entry.genotype.id, 0.0) >= most - ALIKE][-1]
    if not probes:
        return list(best.values())
    ranked = sorted(best.values(), key=lambda a: -probes.get(a.genotype.id, 0.0))
    others = [a for a in ranked if base_name(a.name) not in own]
    return [a for a in ranked if base_name(a.name) in own] + others[:count]


def along_front(ranked: "Sequence[Proposal]", cost: str) -> "list[Proposal]":
    """Reorder trials: first the Pareto front of accuracy and `cost`, the most accurate, then those in the widest gaps."""
    complete = [t for t in ranked if t.outcome == "trained"]
    waiting = [complete[i] for i in front([(t.estimate.figure(cost), t.accuracy) for t in complete])]
    chosen = [waiting.pop()] if waiting else []
    while waiting:
        places = [math.log(t.estimate.figure(cost)) for t in chosen]
        gaps = [min(abs(math.log(t.estimate.figure(cost)) - place) for place in places) for t in waiting]
        chosen.append(waiting.pop(gaps.index(max(gaps))))
    return chosen + [t for t in ranked if t not in chosen]


@dataclass(frozen=True, kw_only=True)
class OverSeeds(Final):
    """A retrained network; `accuracy` is the mean of the validation accuracies `by_seed`."""

    by_seed: tuple[float, ...]


def over_seeds(finals: Mapping[str, Final], again: Mapping[str, Again]) -> dict[str, OverSeeds]:
    """Retrained networks by id, averaged over seeds; `again` has further seeds under ID/K; failed seeds are skipped."""
    found = {}
    for i, final in finals.items():
        records = [final, *(record for key, record in again.items() if key.startswith(f"{i}/"))]
        by_seed = tuple(record.accuracy for record in records if record.accuracy is not None)
        mean = sum(by_seed) / len(by_seed) if by_seed else None
        found[i] = OverSeeds(**{**vars(final), "accuracy": mean, "by_seed": by_seed})
    return found


def best_found(
    finals: Mapping[str, OverSeeds], measured: Mapping[str, Measured], budget: "LatencyBudget", origin: str = "search"
) -> str | None:
    """Id of the retrained network within the budget that has the best mean validation accuracy.

    Networks retrained with more seeds take precedence: they were the best with fewer.
    """
    held = [i for i, final in finals.items() if final.origin.startswith(origin) and budget.kept(final, measured.get(i))]
    return max(held, key=lambda i: (len(finals[i].by_seed), finals[i].accuracy), default=None)


def contenders(finals: Mapping[str, Final], measured: Mapping[str, Measured], budget: "LatencyBudget", count: int) -> list[str]:
    """Ids of retrained networks that can still win: the best `count` within the budget, and the best of each origin."""
    held = [i for i, final in finals.items() if budget.kept(final, measured.get(i))]
    ranked = sorted(held, key=lambda i: -(finals[i].accuracy or 0.0))
    firsts = [next((i for i in ranked if finals[i].origin.startswith(kind)), None) for kind in ("search", "anchor", "random")]
    return list(dict.fromkeys([*ranked[:count], *(i for i in firsts if i)]))
