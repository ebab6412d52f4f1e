"""Survey of a space: predicted latency range, and the share of networks within a budget, in seconds."""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nas.records import Survey, SurveyedAnchor
from search_spaces.anchor import Anchor, base_name
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace

SAMPLES = 2000
_BATCH = 50
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Predicted:
    """Predicted latency (ms) and its upper bound, for the budget's percentile under typical load.

    `reliable`: the device profile covers enough of the network.
    """

    ms: float
    bound_ms: float
    reliable: bool = True

    def fits(self, budget_ms: float) -> bool:
        return self.reliable and self.bound_ms <= budget_ms


Predict = Callable[[Sequence[Genotype]], Sequence[Predicted | None]]


def lines(found: Survey) -> list[str]:
    """The survey as printed lines."""
    fit = {base_name(a.name): a.name for a in found.anchors if a.fits}  # by size
    bounds = {a.name: a.bound_ms for a in found.anchors if not a.fits and base_name(a.name) not in fit}
    slow = [f"{name} ({ms:.2f} ms)" for name, ms in bounds.items() if ms is not None and ms > found.allowed_ms]
    beyond = [name for name, ms in bounds.items() if ms is not None and ms <= found.allowed_ms]
    blank = [name for name, ms in bounds.items() if ms is None]
    known = [
        ("within budget (largest input)", list(fit.values())),
        ("upper bound over budget", slow),
        ("partly outside the device profile", beyond),
        ("not covered by the device profile", blank),
    ]
    return [
        f"{found.samples:,} random networks of the space: fastest {found.fastest_ms:.2f}, median {found.median_ms:.2f}, "
        f"slowest {found.slowest_ms:.2f} ms predicted",
        f"{found.share:.1%} (± {found.share_error:.1%}) of them have an upper bound within {found.budget_ms:g} ms"
        + (f"; {found.refused} more have an operation that the device profile does not cover" if found.refused else ""),
        "Anchors " + "; ".join(f"{word}: {', '.join(names)}" for word, names in known if names) if found.anchors else "",
    ]


def survey(
    space: SearchSpace,
    predict: Predict,
    budget_ms: float,
    anchors: Iterable[Anchor] = (),
    *,
    samples: int = SAMPLES,
    seconds: float = _PATIENCE_S,
    spare: float = 0.0,
) -> Survey:
    """Predict `samples` random genotypes, fewer (at least 50) if that takes more than `seconds`.

    A network fits if its upper bound leaves the margin `spare` of the budget. `predict` is batched and returns None for
    genotypes that the profile does not cover. Raises InputError, with these figures, if no sample fits and neither does the
    network found by coordinate descent from the fastest one.
    """
    rng, start = random.Random(0), time.monotonic()
    tables: list[dict[str, Value]] = []
    drawn: list[Predicted | None] = []
    while len(drawn) < samples and (not drawn or time.monotonic() - start < seconds):
        batch = [_random_genes(space, rng) for _ in range(min(_BATCH, samples - len(drawn)))]
        tables += batch
        drawn += predict([space.decode(genes) for genes in batch])
    found = [(p, genes) for p, genes in zip(drawn, tables, strict=True) if p is not None]
    if not found:
        raise InputError(
            f"none of {len(drawn)} random networks of the space {space.name} can be predicted: each has an operation that the "
            f"device profile does not cover; measure them with `nas device measure --space {space.name}`"
        )
    allowed_ms = (1 - spare) * budget_ms
    places = [_anchor(a, predict, allowed_ms) for a in anchors]
    summary = _summary([p for p, _ in found], len(drawn) - len(found), budget_ms, allowed_ms, places)
    if summary.share == 0:
        _descend_or_refuse(space, predict, summary, min(found, key=lambda f: f[0].bound_ms)[1])
    return summary


def _random_genes(space: SearchSpace, rng: random.Random) -> dict[str, Value]:
    return {name: rng.choice(values) for name, values in space.genes.items()}


def _summary(
    found: list[Predicted], refused: int, budget_ms: float, allowed_ms: float, anchors: list[SurveyedAnchor]
) -> Survey:
    n, within = len(found), sum(p.fits(allowed_ms) for p in found)
    smoothed = (within + 1) / (n + 2)
    fastest = min(found, key=lambda p: p.ms)
    return Survey(
        budget_ms=budget_ms,
        allowed_ms=allowed_ms,
        samples=n,
        refused=refused,
        fastest_ms=fastest.ms,
        fastest_bound_ms=fastest.bound_ms,
        median_ms=statistics.median(p.ms for p in found),
        slowest_ms=max(p.ms for p in found),
        share=within / n,
        share_error=math.sqrt(smoothed * (1 - smoothed) / n),
        anchors=tuple(anchors),
    )


def _anchor(known: Anchor, predict: Predict, allowed_ms: float) -> SurveyedAnchor:
    [found] = predict([known.genotype])
    if found is None:
        return SurveyedAnchor(name=known.name, predicted_ms=None, bound_ms=None, fits=False)
    return SurveyedAnchor(name=known.name, predicted_ms=found.ms, bound_ms=found.bound_ms, fits=found.fits(allowed_ms))


def _descend_or_refuse(space: SearchSpace, predict: Predict, found: Survey, genes: dict[str, Value]) -> None:
    """Raise InputError if even the fastest network found is over the budget."""
    [fastest] = predict([space.decode(_descend(space, genes, predict, found.allowed_ms))])
    assert fastest is not None, "the fastest sample was predicted"
    if not fastest.fits(found.allowed_ms):
        fit = [a.name for a in found.anchors if a.fits]
        raise InputError(
            f"no network of the space {space.name} is within {found.budget_ms:g} ms on this device: "
            f"the fastest is predicted at {fastest.ms:.2f} ms (upper bound {fastest.bound_ms:.2f} ms), "
            f"the median at {found.median_ms:.2f} ms, the slowest at {max(found.slowest_ms, fastest.ms):.2f} ms "
            f"(of {found.samples:,}); anchors within budget: {', '.join(fit) or 'none'}"
        )


def _descend(space: SearchSpace, genes: dict[str, Value], predict: Predict, allowed_ms: float) -> dict[str, Value]:
    """Coordinate descent: set one active gene after another to its fastest value, until nothing improves or it fits."""

    def bound_ms(table: dict[str, Value]) -> float:
        [found] = predict([space.decode(table)])
        return math.inf if found is None or not found.reliable else found.bound_ms

    best, best_ms, improved = genes, bound_ms(genes), True
    while improved and best_ms > allowed_ms:
        improved = False
        for name in _active(space, best):
            for value in space.genes[name]:
                changed = {**best, name: value}
                if value != best[name] and (ms := bound_ms(changed)) < best_ms:
                    best, best_ms, improved = changed, ms, True
    return best


def _active(space: SearchSpace, genes: dict[str, Value]) -> list[str]:
    """Names of the genes that decoding uses."""
    read: list[str] = []

    def choose(name: str, _: object) -> Value:
        read.append(name)
        return genes[name]

    space.decode(choose)
    return read
