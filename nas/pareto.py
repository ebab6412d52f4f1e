"""The Pareto front of cost and accuracy."""

from collections.abc import Sequence

COSTS = ("latency", "params", "macs")  # what can be an objective beside accuracy


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of (cost, accuracy) points that no other is at most as costly and at least as accurate as, by rising cost.

    Of equal points the first stands.
    """
    best, kept = float("-inf"), []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if points[index][1] > best:
            best = points[index][1]
            kept.append(index)
    return kept
