"""Pool: feasible candidates for samplers, from random sampling, mutation and crossover, estimated in batches.

Its contents depend on the seed and the requests, not on their timing, so a resumed search finds the same candidates.
Estimating a new block takes milliseconds, a known one microseconds. Random genotypes are therefore composed from a bank of
random stages, which grows with the number of draws: thousands of genotypes share a few hundred blocks.
"""

import math
import random
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from nas.budget.estimate import Estimate
from nas.samplers.common.features import Branches, GeneCoder, MakeUp, Row, depth, figures_row
from nas.seeds import seed_from
from search_spaces.genotype import Genotype
from search_spaces.registry import Value

_BATCH = 200  # genotypes estimated at once
_BANK, _DRAWS_A_STAGE = 12, 100  # initial random versions of each stage, and draws until another is added
_MOST_STREAMS = 1000  # streams kept; others are made again when needed
_MOST_DRAWS = 4000  # random draws, before a walk from the feasible ones takes over
_WALK_GENES = 3  # genes mutated per step of the walk
_ROUNDS = 20  # minimum number of rounds of a walk
_LOWEST = 20  # candidates with the lowest excess to descend from, if none is feasible
_STEPS_DOWN, _MUTANTS = 8, 40  # descent steps from an origin over the budget, and mutations per step


class Space(Protocol):
    """The part of a search space that samplers use: genes, decoding and encoding."""

    @property
    def genes(self) -> Mapping[str, tuple[Value, ...]]: ...

    def decode(self, genes: Callable[[str, Sequence[Value]], Value]) -> Genotype: ...

    def encode(self, genotype: Genotype) -> Mapping[str, Value]: ...


class Decoded(NamedTuple):
    """A genotype and the active genes that decode to it."""

    genes: Mapping[str, Value]
    genotype: Genotype


@dataclass(frozen=True, eq=False)
class Candidate:
    """A genotype, the active genes that decode to it, its estimate, and its features (nas.samplers.common.features)."""

    genes: Mapping[str, Value]
    genotype: Genotype
    estimate: Estimate
    figures: Row
    make_up: Row
    branches: Row
    gene_row: Row

    @cached_property
    def text(self) -> str:
        return self.genotype.text


class Pool:
    """Candidates of a space that pass `fits` and were not refused; `estimate` is batched.

    `excess` is lower the nearer an estimate is to fitting.

    `origins` are genotypes near which good ones are expected: the donor's network at each input.
    """

    def __init__(
        self,
        space: Space,
        estimate: Callable[[Sequence[Genotype]], Sequence[Estimate]],
        fits: Callable[[Estimate], bool],
        seed: int,
        origins: Sequence[Genotype] = (),
        *,
        excess: Callable[[Estimate], float] = lambda estimate: estimate.bound_ms,
    ) -> None:
        self.space, self._estimate, self._seed = space, estimate, seed
        self._excess = lambda candidate: excess(candidate.estimate)
        self._origins = [Decoded(space.encode(origin), origin) for origin in origins]
        self._near: dict[int, list[Candidate]] = {}
        self._passes, self._refused = fits, set[str]()
        self._coder, self._make_up, self._branches = GeneCoder(space.genes), MakeUp(), Branches()
        self._streams: dict[tuple[Any, ...], _Stream] = {}
        self._trials: dict[str, Candidate] = {}
        self._bank: dict[tuple[str, int], dict[str, Value]] = {}
        self._walk: _Walk | None = None

    def trial(self, genes: Mapping[str, Value], genotype: Genotype, estimate: Estimate) -> Candidate:
        """An existing trial as a candidate; `genes` are empty for a network outside the space."""
        known = self._trials.get(genotype.text)
        if known is None or known.estimate != estimate:
            known = self._trials[genotype.text] = self._described(genes, genotype, estimate)
        return known

    def _described(self, genes: Mapping[str, Value], genotype: Genotype, estimate: Estimate) -> Candidate:
        pixels = math.prod(genotype.input[1:]) if genotype.input else 1
        figures = figures_row(estimate.macs, estimate.params, depth(genotype.blocks), estimate.predicted_ms, pixels)
        rows = self._make_up.row(genotype), self._branches.row(genotype), self._coder.row(genes)
        return Candidate(genes, genotype, estimate, figures, *rows)

    def feasible(self, genotype: Genotype) -> bool:
        """Whether a genotype is feasible and was not refused."""
        [estimate] = self._estimate([genotype])
        return self._passes(estimate) and genotype.text not in self._refused

    def _fits(self, candidate: Candidate) -> bool:
        return self._passes(candidate.estimate) and candidate.text not in self._refused

    def refuse(self, genotype: Genotype) -> None:
        """Exclude a candidate from now on, whatever its estimate."""
        self._refused.add(genotype.text)

    def forget(self) -> None:
        """Must be called when estimates have changed; candidates are then recomputed on demand."""
        self._streams.clear()
        self._near.clear()
        self._walk = None

    def drawn(self, count: int) -> list[Candidate]:
        """Up to `count` feasible candidates from the start of an infinite stream of random genotypes.

        If few draws are feasible, the rest come from a random walk: feasible mutations of feasible candidates.
        """
        found: list[Candidate] = []
        for start in range(0, _MOST_DRAWS, _BATCH):
            found += self._feasible(("random",), self._composed, start, _BATCH)
            if len(found) >= count:
                return found[:count]
        return found + self._walked(found, count - len(found))

    def near(self, count: int) -> list[Candidate]:
        """About `count` feasible mutations of the origins, evenly divided among these; empty without origins.

        From an origin over the budget, mutations that exceed it least are mutated again for some steps; it is skipped if that
        does not lead into the budget.
        """
        if count not in self._near:
            each = -(-count // max(1, len(self._origins)))
            self._near[count] = [c for number in range(len(self._origins)) for c in self._around(number, each)]
        return [c for c in self._near[count] if self._fits(c)]

    def _around(self, number: int, count: int) -> list[Candidate]:
        """Up to `count` feasible candidates near one origin."""
        rng = random.Random(seed_from(self._seed, "near", number))
        at, found = self._costed([self._origins[number]]), list[Candidate]()
        for _ in range(_STEPS_DOWN):
            steps = self._costed([self._mutated(rng.choice(at).genes, rng) for _ in range(_MUTANTS)])
            found += (c for c in steps if self._fits(c))
            if len(found) >= count:
                break
            if not any(self._fits(c) for c in at):
                at = sorted([*at, *steps], key=self._excess)[:_LOWEST]
        return found[:count]

    def mutated(self, parent: Mapping[str, Value], count: int) -> list[Candidate]:
        """The feasible among the first `count` mutations of `parent` in one to three genes."""
        return self._feasible(("mutated", _identity(parent)), lambda rng, _: self._mutated(parent, rng), 0, count)

    def sketched(self, parent: Candidate, count: int, rng: random.Random) -> list[Candidate]:
        """Mutations of `parent` in one to three genes, not estimated yet: they carry the parent's estimate."""
        made = [self._mutated(parent.genes, rng) for _ in range(count)]
        return [self._described(d.genes, d.genotype, parent.estimate) for d in made]

    def costed(self, sketches: Sequence[Candidate]) -> list[Candidate]:
        """The feasible among `sketches`, with their own estimates."""
        return [c for c in self._costed([Decoded(s.genes, s.genotype) for s in sketches]) if self._fits(c)]

    def crossed(self, first: Mapping[str, Value], second: Mapping[str, Value], count: int) -> list[Candidate]:
        """The feasible among the first `count` crossovers of two parents, stage by stage."""
        key = ("crossed", _identity(first), _identity(second))
        return self._feasible(key, lambda rng, _: self._cross(first, second, rng), 0, count)

    def _mutated(self, parent: Mapping[str, Value], rng: random.Random) -> Decoded:
        return self.mutate(parent, rng.choice((1, 1, 2, 3)), rng)

    def mutate(self, parent: Mapping[str, Value], genes: int, rng: random.Random) -> Decoded:
        """Change up to `genes` active genes of `parent`; genes that become active are drawn at random."""
        changed = dict(parent)
        for name in rng.sample(sorted(parent), min(genes, len(parent))):
            changed[name] = rng.choice([v for v in self.space.genes[name] if v != parent[name]])
        return self.decoded(lambda gene, values: changed[gene] if gene in changed else rng.choice(values))

    def _cross(self, first: Mapping[str, Value], second: Mapping[str, Value], rng: random.Random) -> Decoded:
        chosen: dict[str, ChainMap[str, Value]] = {}

        def choose(gene: str, values: Sequence[Value]) -> Value:
            stage = gene.partition(".")[0]
            if stage not in chosen:
                parents = [dict(first), dict(second)]
                rng.shuffle(parents)
                chosen[stage] = ChainMap(*parents)
            return chosen[stage][gene] if gene in chosen[stage] else rng.choice(values)

        return self.decoded(choose)

    def _composed(self, rng: random.Random, index: int) -> Decoded:
        """Draw `index` of the random stream: each stage is taken from the bank at its size by then."""
        chosen: dict[str, Mapping[str, Value]] = {}

        def choose(gene: str, _: Sequence[Value]) -> Value:
            stage = gene.partition(".")[0]
            if stage not in chosen:
                chosen[stage] = self._stage(stage, rng.randrange(_BANK + index // _DRAWS_A_STAGE))
            return chosen[stage][gene]

        return self.decoded(choose)

    def _stage(self, stage: str, number: int) -> Mapping[str, Value]:
        """Values of all genes of a stage: version `number` in the bank."""
        if (stage, number) not in self._bank:
            rng = random.Random(seed_from(self._seed, "stage", stage, number))
            genes = {name: values for name, values in self.space.genes.items() if name.partition(".")[0] == stage}
            self._bank[stage, number] = {name: rng.choice(values) for name, values in genes.items()}
        return self._bank[stage, number]

    def decoded(self, choose: Callable[[str, Sequence[Value]], Value]) -> Decoded:
        """Decode with the values that `choose` returns; the active genes and the genotype."""
        active: dict[str, Value] = {}

        def kept(gene: str, values: Sequence[Value]) -> Value:
            active[gene] = choose(gene, values)
            return active[gene]

        genotype = self.space.decode(kept)
        return Decoded(active, genotype)

    def _feasible(
        self, key: tuple[Any, ...], make: Callable[[random.Random, int], Decoded], start: int, count: int
    ) -> list[Candidate]:
        """The feasible among items start .. start + count of the stream `key`, which is seeded by the key alone."""
        stream = self._streams.pop(key, None) or _Stream(random.Random(seed_from(self._seed, *key)), [])
        self._streams[key] = stream  # as the last used
        if len(self._streams) > _MOST_STREAMS:
            del self._streams[next(iter(self._streams))]
        rng, made = stream
        made += self._costed([make(rng, index) for index in range(len(made), start + count)])
        return [c for c in made[start : start + count] if self._fits(c)]

    def _costed(self, decoded: Sequence[Decoded]) -> list[Candidate]:
        estimates = self._estimate([d.genotype for d in decoded])
        return [self._described(d.genes, d.genotype, e) for d, e in zip(decoded, estimates, strict=True)]

    def _walked(self, start: Sequence[Candidate], count: int) -> list[Candidate]:
        """Up to `count` feasible candidates from a random walk, which continues where it stopped before.

        It starts from feasible candidates; if there are none, it descends to those that exceed the budget less, until one fits.
        """
        if self._walk is None:
            lowest = sorted(self._streams["random",].made, key=self._excess)[:_LOWEST]
            self._walk = _Walk(random.Random(seed_from(self._seed, "walk")), list(start) or lowest, [], 0)
        walk = self._walk
        while len(found := [c for c in walk.found if self._fits(c)]) < count and walk.rounds < _ROUNDS + 4 * count // _BATCH:
            steps = self._costed([self.mutate(walk.rng.choice(walk.at).genes, _WALK_GENES, walk.rng) for _ in range(_BATCH)])
            reached = [c for c in steps if self._fits(c)]
            if reached or walk.found or start:
                walk.at = [*(c for c in walk.at if self._fits(c)), *reached][-_BATCH:]
            else:
                walk.at = sorted([*walk.at, *steps], key=self._excess)[:_LOWEST]
            walk.found += reached
            walk.rounds += 1
        return found[:count]


@dataclass
class _Walk:
    """State of a walk: current candidates, feasible ones found, number of rounds."""

    rng: random.Random
    at: list[Candidate]
    found: list[Candidate]
    rounds: int


class _Stream(NamedTuple):
    rng: random.Random
    made: list[Candidate]


def _identity(genes: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(genes.items()))
