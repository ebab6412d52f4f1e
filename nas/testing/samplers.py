"""check_sampler: test suite for a sampler, on a synthetic search."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from evaluators.limits import Limits
from nas import samplers
from nas.budget.estimate import Estimate
from nas.pipeline.study import Study
from nas.run.trials import Proposal
from nas.testing.said import said
from search_spaces.genotype import Genotype
from search_spaces.registry import Value
from search_spaces.space import SearchSpace
from search_spaces.space_file import load_space

BUDGET_MS = 3.0
LIMITS = Limits(BUDGET_MS)
_PARTS = (5, 8, 1)  # trials per session of a resumed search
_SEARCHES: tuple[tuple[str | None, bool], ...] = (("macs", False), (None, True), ("latency", True))
_WORKERS = 6


def check_sampler(sampler: str) -> None:
    """Check the sampler `sampler` in synthetic searches within a budget; raises AssertionError that says what is wrong.

    It must propose valid values of genes, with one and two objectives, with and without screening by probe, with anchors
    outside the space among the trials, and with several running trials. Proposals must depend on study, pool and seed alone: a
    search resumed twice must make the same proposals as an uninterrupted one, and another seed different ones. Raises
    InputError if there is no such sampler.
    """
    samplers.check(sampler)
    with TemporaryDirectory() as folder:
        for cost, probed in _SEARCHES:
            _check_resumed(Path(folder), sampler, cost, probed)
        _check_workers(Path(folder), sampler)


def _check_resumed(folder: Path, sampler: str, cost: str | None, probed: bool) -> None:
    where = f"the sampler {sampler}, {f'objectives accuracy and {cost}' if cost else 'one objective'}{', probed' * probed}"

    def asked(name: str, seed: int, *parts: int) -> list[str]:
        path = folder / f"{name}-{cost}-{probed}.log"
        with said(where):
            found = [t for count in parts for t in go_on(study(path, sampler, seed, cost), count, probed)]
        assert all(trial.estimate.fits(LIMITS) for trial in found), f"{where}: a candidate over the budget was trained"
        return [trial.genotype.text for trial in found]

    whole, parts = asked("whole", 3, sum(_PARTS)), asked("parts", 3, *_PARTS)
    differ = next((i for i, (one, other) in enumerate(zip(whole, parts, strict=False)) if one != other), None)
    assert whole == parts, (
        f"{where}: a search resumed after {_PARTS[0]} trials makes different proposals, from proposal {differ} on; proposals "
        "must depend on study, pool and seed alone"
    )
    assert len(set(whole)) == len(whole), f"{where}: a candidate was trained twice"
    other = asked("other", 4, _PARTS[0])
    assert whole[: len(other)] != other, f"{where}: another seed proposes the same candidates"


def _check_workers(folder: Path, sampler: str) -> None:
    """Propose with probed anchors, finished trials and several running ones."""
    where, begun = f"the sampler {sampler}, several workers", study(folder / "workers.log", sampler)
    for known in load_space("tiny").reference_networks():
        begun.seed_anchor(known, probe=_probe(known.genotype))
    with said(where):
        go_on(begun, _PARTS[1])
        asked = [proposal.genotype.text for _ in range(_WORKERS) if (proposal := begun.ask())]
    assert len(set(asked)) == _WORKERS, f"{where}: {_WORKERS} workers get only {len(set(asked))} different candidates"


def study(path: Path, sampler: str, seed: int = 0, cost: str | None = None) -> Study:
    """A study of the space `tiny` within a budget, in the journal at `path`; wider networks are slower."""
    space = _ValidatingSpace(load_space("tiny"))
    return Study(path, space, estimates, LIMITS, sampler, seed=seed, cost=cost)


def go_on(study: Study, trials: int, probed: bool = False) -> list[Proposal]:
    """Train candidates until `trials` were not screened; returns all, including those screened if `probed`."""
    found: list[Proposal] = []
    while sum(t.outcome != "screened" for t in found) < trials:
        proposal = study.ask()
        assert proposal is not None, "no more candidates are proposed"
        for epoch in (0, 1, 2) if probed else (1, 2):
            accuracy = _accuracy(proposal.genotype) - 0.1 / epoch if epoch else _probe(proposal.genotype)
            if study.report(proposal.number, epoch, accuracy, 1.0):
                break
        found.append(study.complete(proposal.number, 2))
    return found


def estimates(genotypes: Sequence[Genotype]) -> list[Estimate]:
    """Synthetic estimates: wider networks are slower and larger."""
    return [_estimate([b.width or 0 for b in g.blocks], g) for g in genotypes]


def _estimate(widths: Sequence[int], genotype: Genotype) -> Estimate:
    ms = sum(widths) / 300
    return Estimate(ms, 1.1 * ms, 1000 * len(genotype.text), 1000 * sum(max(w, 1) ** 2 for w in widths))


def _accuracy(genotype: Genotype) -> float:
    """Synthetic accuracy: increases with width with diminishing returns, prefers one kind of block, plus noise."""
    kinds = sum(b.kind == "fe" for b in genotype.blocks) / len(genotype.blocks)
    size = math.log(sum((b.width or 1) for b in genotype.blocks))
    return 0.3 + 0.05 * size + 0.2 * kinds + 0.01 * random.Random(genotype.id).random()


def _probe(genotype: Genotype) -> float:
    return 0.5 * _accuracy(genotype) + 0.02 * random.Random("probe" + genotype.id).random()


@dataclass(frozen=True, eq=False)
class _ValidatingSpace:
    """A space that reports invalid values of genes."""

    space: SearchSpace

    @property
    def genes(self) -> Mapping[str, tuple[Value, ...]]:
        return self.space.genes

    def encode(self, genotype: Genotype) -> Mapping[str, Value]:
        return self.space.encode(genotype)

    def decode(self, genes: Callable[[str, Sequence[Value]], Value]) -> Genotype:
        def choose(gene: str, values: Sequence[Value]) -> Value:
            try:
                return genes(gene, values)
            except ValueError as error:
                raise AssertionError(f"it proposes an invalid value of the gene {gene}: {error}") from error

        return self.space.decode(choose)
