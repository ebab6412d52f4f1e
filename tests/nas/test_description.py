"""Descriptions of networks for the surrogate: what branches hold counts, and branches are told apart by it."""

import numpy as np
import pytest

from nas.samplers.common.features import Branches, MakeUp, Scaling, depth, stacked
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space, space_names

CHAIN = Genotype.parse("conv 16/2\nconv 32/1 kernel=1 x2\nhead")
BRANCHED = Genotype.parse("""
conv 16/2
add x2
  | conv 16/1
    conv 16/1 kernel=1
  |
add
  | conv 16/1
    conv 16/1 kernel=1
  | concat
      | conv 8/1
      | conv 8/1
head
""")


def test_blocks_in_branches_are_part_of_the_make_up():
    make_up = MakeUp()
    row = make_up.row(BRANCHED)
    blocks = 1 + 3 + 6 + 1 + 2 + 1  # stem, additions, two convolutions in each, concatenation, two more, head
    assert row[make_up._columns["conv", None]] == pytest.approx(9 / blocks)
    assert row[make_up._columns["add", None]] == pytest.approx(3 / blocks)
    assert row[make_up._columns["concat", None]] == pytest.approx(1 / blocks)


def test_depth_is_that_of_the_longest_way():
    assert depth(CHAIN.blocks) == 4
    assert depth(BRANCHED.blocks) == 1 + 2 * 2 + 2 + 1
    assert depth(BRANCHED.blocks[1].branches[1]) == 0


def test_branches_are_counted_by_what_is_in_them():
    branches = Branches()
    row = branches.row(BRANCHED)
    found = {" > ".join(branch): row[column] for branch, column in branches._columns.items()}
    assert found == {"conv 16/1 > conv 16/1 kernel=1": 3, "": 2, "concat": 1, "conv 8/1": 2}
    assert not branches.row(CHAIN).any()
    assert np.array_equal(stacked([Branches().row(CHAIN), row]), [np.zeros(4), row])


@pytest.mark.parametrize("name", space_names())
def test_blocks_in_a_row_have_no_branches_and_branched_anchors_do(name):
    space, branches = load_space(name), Branches()
    for anchor in space.reference_networks():
        branched = any(spec.branches for spec in anchor.genotype.blocks)
        assert branches.row(anchor.genotype).any() == branched


def _usual_distance(rows):
    return np.sqrt(np.mean(np.sum((rows[:, None] - rows[None]) ** 2, axis=2)))


@pytest.mark.parametrize("standardise", [True, False])
def test_scaled_rows_have_a_usual_distance_of_1(standardise):
    rows = np.random.default_rng(0).standard_normal((40, 5)) * [1.0, 10.0, 0.0, 3.0, 100.0] + 7.0
    scaled = Scaling.of(rows, standardise)(rows)
    assert _usual_distance(scaled) == pytest.approx(1.0)
    spreads = scaled.std(axis=0)
    assert spreads[2] == 0.0 and (np.ptp(spreads[[0, 1, 3, 4]]) < 1e-9) == standardise
    assert Scaling.of(np.vstack([rows, np.full((3, 5), np.nan)]), standardise)(rows) == pytest.approx(scaled)


def test_rows_are_scaled_with_columns_that_were_met_later_and_without_those_that_come_last():
    rows = np.random.default_rng(0).integers(0, 3, (40, 4)).astype(float)
    scaling = Scaling.of(rows)
    [factor] = set(np.round(scaling.factors, 12))
    found = scaling(np.pad(rows, ((0, 0), (0, 2)), constant_values=2.0))
    assert np.allclose(found[:, :4], scaling(rows)) and np.allclose(found[:, 4:], 2 * factor)
    assert np.allclose(scaling(rows[:, :2]), scaling(np.pad(rows[:, :2], ((0, 0), (0, 2)))))
