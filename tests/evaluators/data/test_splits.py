"""Splitting by class: parts are disjoint, complete, as large as asked, and always the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.data._splits import stratified
from search_spaces.errors import InputError

FROZEN = [[1, 8, 12, 19], [4, 11, 15, 16]]
COUNTS = st.lists(st.integers(3, 40), min_size=1, max_size=6)


@given(COUNTS, st.sampled_from([[0.15], [0.1], [0.15, 0.15]]))
def test_every_part_has_its_share_of_every_class(counts: list[int], shares: list[float]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = stratified(labels, tuple(map(str, range(len(counts)))), shares)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert all(np.all(np.diff(part) > 0) for part in parts)
    for part, share in zip(parts[1:], shares, strict=True):
        found = np.bincount(labels[part], minlength=len(counts))
        assert found.tolist() == [max(1, round(share * count)) for count in counts]
    assert np.bincount(labels[parts[0]], minlength=len(counts)).min() >= 1


def test_the_split_does_not_change_between_versions() -> None:
    train, validation, test = stratified(np.arange(20) % 2, ("a", "b"), [0.15, 0.15])
    assert [validation.tolist(), test.tolist()] == FROZEN
    assert len(train) == 20 - sum(map(len, FROZEN))


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_too_small_to_split_is_named(count: int) -> None:
    labels = np.array([0] * 5 + [1] * count)
    with pytest.raises(InputError, match=rf'class "rare" has {count} images? to split; it needs at least 3'):
        stratified(labels, ("common", "rare"), [0.15, 0.15])
