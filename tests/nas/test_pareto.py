"""The Pareto front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from nas.pareto import front

_POINTS = st.lists(st.tuples(st.integers(0, 8).map(float), st.integers(0, 8).map(float)), max_size=30)


@given(_POINTS)
def test_front_is_what_nothing_dominates(points):
    found = front(points)
    kept = [points[i] for i in found]
    assert kept == sorted(kept) and len(set(kept)) == len(kept)

    def dominated(p):
        return any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)

    assert set(kept) == {p for p in points if not dominated(p)}
