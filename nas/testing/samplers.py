"""check_sampler: what a search needs of a sampler; and a made-up search to try one in."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

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
_PARTS = (5, 8, 1)  # trials after which a search is opened again
_SEARCHES: tuple[tuple[str | None, bool], ...] = (("macs", False), (None, True), ("latency", True))
_WORKERS = 6


def check_sampler(sampler: str) -> None:
    """Checks the sampler called `sampler` in made-up searches; raises AssertionError that says what is wrong.

    They are within a budget. It proposes values that the genes have, with one objective and with two, whether candidates are
    screened by a probe or not, with anchors from outside the space among the trials, and while several trainings run. What it
    proposes follows from the study, the pool and the seed alone: a search that is resumed twice asks what one in one piece
    asks, another seed asks for something else. Raises InputError when there is no such sampler.
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
        assert all(trial.estimate.fits(BUDGET_MS) for trial in found), f"{where}: a candidate over the budget is trained"
        return [trial.genotype.text for trial in found]

    whole, parts = asked("whole", 3, sum(_PARTS)), asked("parts", 3, *_PARTS)
    differ = next((i for i, (one, other) in enumerate(zip(whole, parts, strict=False)) if one != other), None)
    assert whole == parts, (
        f"{where}: the same search asks for something else when it is resumed after {_PARTS[0]} trials, from proposal {differ} "
        "on; what is proposed must follow from the study, the pool and the seed alone"
    )
    assert len(set(whole)) == len(whole), f"{where}: a candidate is trained twice"
    other = asked("other", 4, _PARTS[0])
    assert whole[: len(other)] != other, f"{where}: another seed asks for the same candidates"


def _check_workers(folder: Path, sampler: str) -> None:
    """Anchors were probed, some trainings are over and several run when the next is asked for."""
    where, begun = f"the sampler {sampler}, several workers", study(folder / "workers.log", sampler)
    for known in load_space("tiny").reference_networks():
        begun.seed_anchor(known, probe=_probe(known.genotype))
    with said(where):
        go_on(begun, _PARTS[1])
        asked = [proposal.genotype.text for _ in range(_WORKERS) if (proposal := begun.ask())]
    assert len(set(asked)) == _WORKERS, f"{where}: {_WORKERS} of them are given {len(set(asked))} candidates"


def study(path: Path, sampler: str, seed: int = 0, cost: str | None = None) -> Study:
    """A search of `tiny` within a budget in the journal at `path`; wider networks are slower."""
    space = _Watched(load_space("tiny"))
    return Study(path, space, estimates, BUDGET_MS, sampler, seed=seed, cost=cost)


def go_on(study: Study, trials: int, probed: bool = False) -> list[Proposal]:
    """Trains candidates until so many went on; where they are `probed`, those that were screened are returned too."""
    found: list[Proposal] = []
    while sum(t.outcome != "screened" for t in found) < trials:
        proposal = study.ask()
        assert proposal is not None, "nothing more is proposed"
        for epoch in (0, 1, 2) if probed else (1, 2):
            accuracy = _accuracy(proposal.genotype) - 0.1 / epoch if epoch else _probe(proposal.genotype)
            if study.report(proposal.number, epoch, accuracy, 1.0):
                break
        found.append(study.complete(proposal.number, 2))
    return found


def estimates(genotypes: Sequence[Genotype]) -> list[Estimate]:
    """Made up: the wider, the slower and larger."""
    return [_estimate([b.width or 0 for b in g.blocks], g) for g in genotypes]


def _estimate(widths: Sequence[int], genotype: Genotype) -> Estimate:
    ms = sum(widths) / 300
    return Estimate(ms, 1.1 * ms, 1000 * len(genotype.text), 1000 * sum(max(w, 1) ** 2 for w in widths))


def _accuracy(genotype: Genotype) -> float:
    """Made up: wider is better with falling returns, one kind of block is best, and a little of everything else."""
    kinds = sum(b.kind == "fe" for b in genotype.blocks) / len(genotype.blocks)
    size = math.log(sum((b.width or 1) for b in genotype.blocks))
    return 0.3 + 0.05 * size + 0.2 * kinds + 0.01 * random.Random(genotype.id).random()


def _probe(genotype: Genotype) -> float:
    return 0.5 * _accuracy(genotype) + 0.02 * random.Random("probe" + genotype.id).random()


@dataclass(frozen=True, eq=False)
class _Watched:
    """A space that says which gene is given a value that it does not have."""

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
                raise AssertionError(f"it proposes for the gene {gene} a value that it does not have: {error}") from error

        return self.space.decode(choose)
