"""Rank correlation between successive evaluation stages of a search."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.records import Final
from nas.run.trials import Proposal

if TYPE_CHECKING:
    from nas.run.memory import Memory

_RESAMPLES = 1000
_FEWEST = 5  # minimum number of networks for a rank correlation


@dataclass(frozen=True)
class Rung:
    """Values of one stage by genotype id; higher is better."""

    name: str
    values: Mapping[str, float]


def rank_correlations(memory: "Memory", rated: str = "") -> list[dict[str, Any]]:
    """Spearman's rank correlation between successive rungs, cheapest first, with a 95 % bootstrap interval.

    Rungs that no network reached are omitted; correlations of fewer than five networks are None. `rated` names the evaluator
    if candidates were not trained.
    """
    rungs = [rung for rung in _rungs(memory, rated) if rung.values]
    return [_compared(lower, upper) for lower, upper in pairwise(rungs)]


def _rungs(memory: "Memory", rated: str) -> list[Rung]:
    trained = {t.genotype.id: t for t in reversed(memory.trials) if t.outcome in ("trained", "stopped") and t.accuracies}
    epochs = max((len(t.accuracies) for t in trained.values()), default=0)
    finals = {i: f.accuracy for i, f in memory.records(Final).items() if f.accuracy is not None}
    return [
        Rung("MACs", {i: float(t.estimate.macs) for i, t in trained.items()}),
        Rung("linear probe", {i: t.probe for i, t in trained.items() if t.probe is not None}),
        *(Rung(rated or _epochs(e), _after(trained, e)) for e in sorted({1, epochs}) if e),
        Rung("retrained", finals),
    ]


def _after(trained: Mapping[str, Proposal], epoch: int) -> dict[str, float]:
    return {i: t.accuracies[epoch - 1] for i, t in trained.items() if len(t.accuracies) >= epoch}


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''} of the search"


def _compared(lower: Rung, upper: Rung) -> dict[str, Any]:
    both = [(value, upper.values[i]) for i, value in lower.values.items() if i in upper.values]
    found: dict[str, Any] = {"lower": lower.name, "upper": upper.name, "n": len(both)}
    if len(both) < _FEWEST:
        return found | {"spearman": None, "low": None, "high": None}
    pairs, rng = np.array(both), np.random.default_rng(0)
    drawn = sorted(_spearman(pairs[rng.integers(len(pairs), size=len(pairs))]) for _ in range(_RESAMPLES))
    low, high = drawn[int(0.025 * _RESAMPLES)], drawn[int(0.975 * _RESAMPLES) - 1]
    return found | {"spearman": _spearman(pairs), "low": low, "high": high}


def _spearman(pairs: NDArray[np.float64]) -> float:
    """Spearman's correlation; 0 if one side is constant."""
    from scipy.stats import rankdata  # takes a second to import

    ranks = rankdata(pairs, axis=0)
    return float(np.corrcoef(ranks.T)[0, 1]) if ranks.std(axis=0).all() else 0.0
