"""Survey of a space: ranges of latency, size and memory, and the share of networks within the limits, in seconds."""

import math
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from evaluators.cost import cost
from evaluators.limits import Limits, budget_text, bytes_text
from evaluators.precision import Precision
from nas.budget.estimate import Estimate
from nas.budget.reach import Estimates, why_none_fits
from nas.records import Survey, SurveyedAnchor
from search_spaces.anchor import Anchor, base_name
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace

SAMPLES = 2000
_BATCH = 50
_PATIENCE_S = 10.0


def lines(found: Survey, budget: str) -> list[str]:
    """The survey as printed lines; `budget` is the budget as text."""
    fit = {base_name(a.name): a.name for a in found.anchors if a.fits}  # by size
    others = [a for a in found.anchors if not a.fits and base_name(a.name) not in fit]
    allowed_ms = math.inf if found.allowed_ms is None else found.allowed_ms
    large = list({base_name(a.name): f"{a.name} ({a.reason})" for a in reversed(others) if a.reason}.values())[::-1]
    bounds = {a.name: a.bound_ms for a in others if not a.reason}
    slow = [f"{name} ({ms:.2f} ms)" for name, ms in bounds.items() if ms is not None and ms > allowed_ms]
    beyond = [name for name, ms in bounds.items() if ms is not None and ms <= allowed_ms]
    blank = [name for name, ms in bounds.items() if ms is None]
    known = [
        ("within budget (largest input)", list(fit.values())),
        ("too large", large),
        ("upper bound over budget", slow),
        ("partly outside the device profile", beyond),
        ("not covered by the device profile", blank),
    ]
    return [
        f"{found.samples:,} random networks of the space: fastest {found.fastest_ms:.2f}, median {found.median_ms:.2f}, "
        f"slowest {found.slowest_ms:.2f} ms predicted",
        f"their weights: smallest {bytes_text(found.smallest_size_bytes)}, median {bytes_text(found.median_size_bytes)}; their "
        f"memory: smallest {bytes_text(found.smallest_memory_bytes)}, median {bytes_text(found.median_memory_bytes)}",
        f"{found.share:.1%} (± {found.share_error:.1%}) of them are within {budget}"
        + (", latency by upper bound" if found.allowed_ms is not None else "")
        + (f"; {found.refused} more have an operation that the device profile does not cover" if found.refused else ""),
        "Anchors " + "; ".join(f"{word}: {', '.join(names)}" for word, names in known if names) if found.anchors else "",
    ]


def survey(
    space: SearchSpace,
    estimate: Estimates,
    limits: Limits,
    anchors: Iterable[Anchor] = (),
    *,
    budget: str,
    samples: int = SAMPLES,
    seconds: float = _PATIENCE_S,
) -> Survey:
    """Estimate `samples` random genotypes, fewer (at least 50) if that takes more than `seconds`.

    `estimate` is batched; `budget` is the budget as text. Raises InputError, with these figures, if no sample is within the
    `limits` and neither is the network found by coordinate descent from the nearest one.
    """
    rng, start = random.Random(0), time.monotonic()
    tables: list[dict[str, Value]] = []
    drawn: list[Estimate] = []
    while len(drawn) < samples and (not drawn or time.monotonic() - start < seconds):
        batch = [_random_genes(space, rng) for _ in range(min(_BATCH, samples - len(drawn)))]
        tables += batch
        drawn += estimate([space.decode(genes) for genes in batch])
    found = [(e, genes) for e, genes in zip(drawn, tables, strict=True) if math.isfinite(e.predicted_ms)]
    if not found:
        raise InputError(
            f"none of {len(drawn)} random networks of the space {space.name} can be predicted: each has an operation that the "
            f"device profile does not cover; measure them with `nas device measure --space {space.name}`"
        )
    places = [_anchor(a, estimate, limits) for a in anchors]
    summary = _summary([e for e, _ in found], len(drawn) - len(found), limits, places)
    if summary.share == 0:
        _refuse_if_none_fits(space.name, summary, budget, why_none_fits(space, estimate, limits, found))
    return summary


def refuse_sizes(space: SearchSpace, classes: int, precision: Precision, limits: Limits) -> None:
    """Raise InputError if no network is within the limits of size and memory, before the device is measured."""
    limits, task, rng = replace(limits, latency_ms=math.inf), space.task(classes), random.Random(0)
    if limits == Limits():
        return

    def estimate(genotypes: Sequence[Genotype]) -> list[Estimate]:
        costs = [cost(genotype, task.of(genotype)) for genotype in genotypes]
        sizes = ((c.size_bytes(precision), c.memory_bytes(precision)) for c in costs)
        return [Estimate(0.0, 0.0, 0, 0, size_bytes=size, memory_bytes=memory) for size, memory in sizes]

    tables = [_random_genes(space, rng) for _ in range(_BATCH)]
    samples = list(zip(estimate([space.decode(genes) for genes in tables]), tables, strict=True))
    if why := why_none_fits(space, estimate, limits, samples):
        budget = budget_text(None, *(None if math.isinf(most) else most for most in (limits.size_bytes, limits.memory_bytes)))
        raise InputError(f"no network of the space {space.name} is within {budget}: {why}")


def _refuse_if_none_fits(space: str, found: Survey, budget: str, why: str) -> None:
    """Raise InputError with the survey's figures if there is a reason `why` no network fits."""
    if why:
        fit = ", ".join(a.name for a in found.anchors if a.fits) or "none"
        raise InputError(
            f"no network of the space {space} is within {budget} on this device: {why}; of {found.samples:,} random networks, "
            f"the median is predicted at {found.median_ms:.2f} ms, with weights of {bytes_text(found.median_size_bytes)} and "
            f"memory of {bytes_text(found.median_memory_bytes)}; anchors within budget: {fit}"
        )


def _random_genes(space: SearchSpace, rng: random.Random) -> dict[str, Value]:
    return {name: rng.choice(values) for name, values in space.genes.items()}


def _summary(found: list[Estimate], refused: int, limits: Limits, anchors: list[SurveyedAnchor]) -> Survey:
    n, within = len(found), sum(e.fits(limits) for e in found)
    smoothed = (within + 1) / (n + 2)
    fastest = min(found, key=lambda e: e.predicted_ms)
    sizes, memories = [e.size_bytes for e in found], [e.memory_bytes for e in found]
    return Survey(
        allowed_ms=None if math.isinf(limits.latency_ms) else limits.latency_ms,
        samples=n,
        refused=refused,
        fastest_ms=fastest.predicted_ms,
        fastest_bound_ms=fastest.bound_ms,
        median_ms=statistics.median(e.predicted_ms for e in found),
        slowest_ms=max(e.predicted_ms for e in found),
        share=within / n,
        share_error=math.sqrt(smoothed * (1 - smoothed) / n),
        anchors=tuple(anchors),
        smallest_size_bytes=min(sizes),
        median_size_bytes=statistics.median_low(sizes),
        smallest_memory_bytes=min(memories),
        median_memory_bytes=statistics.median_low(memories),
    )


def _anchor(known: Anchor, estimate: Estimates, limits: Limits) -> SurveyedAnchor:
    [found] = estimate([known.genotype])
    latencies = (found.predicted_ms, found.bound_ms) if math.isfinite(found.predicted_ms) else (None, None)
    fits = found.fits(limits)
    reason = "" if fits else found.too_large(limits)
    return SurveyedAnchor(name=known.name, predicted_ms=latencies[0], bound_ms=latencies[1], fits=fits, reason=reason)
