"""The Pareto front of cost and accuracy."""

from collections.abc import Sequence

COSTS = ("latency", "params", "macs")  # possible second objectives


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of non-dominated (cost, accuracy) points, by increasing cost; of equal points, the first."""
    best, kept = float("-inf"), []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if points[index][1] > best:
            best = points[index][1]
            kept.append(index)
    return kept
