"""The pool: feasible, reproducible candidates; mutations and crossings stay close to their parents."""

import random

import numpy as np
import pytest

from evaluators.limits import Limits
from nas.budget.estimate import Estimate, uncovered
from nas.samplers.common.pool import Pool
from search_spaces.space_file import load_space, space_names


def _estimate(genotypes):
    return [_one(g) for g in genotypes]


def _one(genotype):
    ms = sum((b.width or 0) for b in genotype.blocks) / 100
    return Estimate(ms, 1.1 * ms, 1000 * len(genotype.text), 1000 * len(genotype.blocks))


def _pool(space, budget=1e9, seed=0):
    return Pool(space, _estimate, lambda e: e.fits(Limits(budget)), seed)


@pytest.fixture(params=space_names())
def space(request):
    return load_space(request.param)


def _check(space, candidates, budget):
    for candidate in candidates:
        assert space.decode(candidate.genes) == candidate.genotype
        assert candidate.estimate == _one(candidate.genotype) and candidate.estimate.bound_ms <= budget
        assert np.isfinite(candidate.gene_row).all() and np.isfinite(candidate.figures).all()
        _, height, width = candidate.genotype.input
        assert candidate.figures[-1] == pytest.approx(np.log(height * width)) and candidate.genotype.input in space.inputs


def test_every_candidate_is_feasible_and_of_the_space(space):
    everything = sorted(c.estimate.bound_ms for c in _pool(space).drawn(300))
    budget = everything[100]
    pool = _pool(space, budget)
    drawn = pool.drawn(60)
    assert len(drawn) == 60
    _check(space, drawn, budget)
    _check(space, pool.mutated(drawn[0].genes, 40), budget)
    _check(space, pool.crossed(drawn[0].genes, drawn[1].genes, 40), budget)


def test_what_is_in_it_follows_from_the_seed_and_not_from_the_order_of_questions(space):
    first, second, other = _pool(space), _pool(space), _pool(space, seed=1)
    parent = first.drawn(5)[3].genes
    a = [c.text for c in first.drawn(50)] + [c.text for c in first.mutated(parent, 20)]
    second.mutated(parent, 7)
    b = [c.text for c in second.drawn(50)] + [c.text for c in second.mutated(parent, 20)]
    assert a == b != [c.text for c in other.drawn(50)] + [c.text for c in other.mutated(parent, 20)]


def test_near_an_origin_are_its_mutations_or_where_it_is_over_the_budget_those_of_its_mutations(space):
    inside = [a.genotype for a in space.reference_networks() if space.place_of(a) == "inside"]
    origin = (inside or [_pool(space).drawn(1)[0].genotype])[0]
    genes = space.encode(origin)

    def changes(candidate):
        return sum(candidate.genes[name] != value for name, value in genes.items() if name in candidate.genes)

    ample, tight = (
        Pool(space, _estimate, lambda e, b=b: e.fits(Limits(b)), 0, [origin]) for b in (1e9, 0.9 * _one(origin).bound_ms)
    )
    near = ample.near(50)
    assert len(near) == 50 and all(changes(c) <= 3 for c in near)
    _check(space, near, 1e9)
    smaller = tight.near(50)
    assert smaller
    _check(space, smaller, 0.9 * _one(origin).bound_ms)
    assert sum(map(changes, smaller)) / len(smaller) < 10
    assert [c.text for c in smaller] == [c.text for c in tight.near(50)]
    assert _pool(space).near(50) == []


def test_sketches_are_mutations_that_are_not_costed_and_the_feasible_ones_are_when_they_are(space):
    everything = sorted(c.estimate.bound_ms for c in _pool(space).drawn(300))
    budget = everything[150]
    pool = _pool(space, budget)
    parent = pool.drawn(1)[0]
    sketches = pool.sketched(parent, 60, random.Random(0))
    assert [s.text for s in sketches] == [s.text for s in pool.sketched(parent, 60, random.Random(0))]
    assert all(s.estimate is parent.estimate and space.decode(s.genes) == s.genotype for s in sketches)
    costed = pool.costed(sketches)
    _check(space, costed, budget)
    assert [c.text for c in costed] == [s.text for s in sketches if _one(s.genotype).fits(Limits(budget))]
    assert 0 < len(costed) < 60


def test_a_mutation_changes_one_to_three_genes_of_its_parent(space):
    pool = _pool(space)
    parent = pool.drawn(1)[0]
    for child in pool.mutated(parent.genes, 100):
        changed = [name for name, value in parent.genes.items() if child.genes.get(name, value) != value]
        assert 1 <= len(changed) <= 3


def test_a_crossing_takes_each_stage_from_one_parent(space):
    pool = _pool(space)
    first, second = pool.drawn(2)
    seen = set()
    for child in pool.crossed(first.genes, second.genes, 60):
        for stage in {name.partition(".")[0] for name in child.genes}:
            shared = [n for n in child.genes if n.partition(".")[0] == stage and n in first.genes and n in second.genes]
            origins = [{p for p, g in (("a", first.genes), ("b", second.genes)) if g[n] == child.genes[n]} for n in shared]
            assert all(origins) and (not origins or set.intersection(*origins))
            seen |= set.union(*origins) if origins else set()
    assert seen == {"a", "b"}


def test_a_tight_budget_is_walked_into():
    space = load_space("tiny")
    bounds = sorted(c.estimate.bound_ms for c in _pool(space).drawn(4000))
    pool = _pool(space, bounds[40])  # one draw in a hundred
    found = pool.drawn(300)
    assert len(found) == 300 and len({c.text for c in found}) > 150
    _check(space, found, bounds[40])


def test_where_no_draw_is_feasible_the_walk_goes_down_until_one_is():
    space = load_space("tiny")
    least = min(c.estimate.bound_ms for c in _pool(space).drawn(4000))
    pool = _pool(space, 0.9 * least)
    found = pool.drawn(50)
    assert len(found) == 50
    _check(space, found, 0.9 * least)
    assert [c.text for c in pool.drawn(80)][:50] == [c.text for c in found]


def test_nothing_feasible_gives_nothing_and_what_is_not_covered_is_left_out():
    space = load_space("tiny")
    assert Pool(space, _estimate, lambda _: False, 0).drawn(5) == []
    assert Pool(space, lambda gs: [uncovered(1, 1) for _ in gs], lambda e: e.fits(Limits(1e12)), 0).drawn(5) == []


def test_estimates_that_changed_are_asked_for_again():
    space, factor = load_space("tiny"), [1.0]
    pool = Pool(space, lambda gs: [Estimate(factor[0], factor[0], 1, 1) for _ in gs], lambda e: e.fits(Limits(1.5)), 0)
    assert len(pool.drawn(10)) == 10
    factor[0] = 2.0
    pool.forget()
    assert pool.drawn(10) == []


def test_mutating_wakes_genes_only_as_decoding_asks_for_them(space):
    pool, rng = _pool(space), random.Random(0)
    for candidate in pool.drawn(20):
        changed = pool.mutate(candidate.genes, 3, rng)
        assert space.decode(changed.genes) == changed.genotype
        read: list[str] = []
        space.decode(lambda gene, _, c=changed, r=read: r.append(gene) or c.genes[gene])
        assert set(read) == set(changed.genes)
