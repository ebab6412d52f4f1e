"""The upper bound on a prediction: one-sided conformal prediction from measured / predicted of held-out networks."""

import math
from collections.abc import Iterable

from search_spaces.errors import InputError


def conformal_factor(ratios: Iterable[float], confidence: float) -> float:
    """The factor that measured / predicted of a new network exceeds with probability at most 1 - confidence.

    It is the ceil((n + 1) confidence)-th smallest of the n exchangeable ratios; raises InputError when n is too small.
    """
    ordered = sorted(ratios)
    check_enough(len(ordered), confidence, "conformal bound")
    return float(ordered[_rank(len(ordered), confidence) - 1])


def check_enough(n: int, confidence: float, where: str) -> None:
    """Raises InputError when `n` networks are too few for a bound at this confidence."""
    if _rank(n, confidence) > n:
        needed = math.ceil(confidence / (1 - confidence) - 1e-9)
        raise InputError(
            f"{where}: {n} verify networks are too few for a bound at confidence {confidence:g}, which needs {needed}; "
            "run `nas device measure` again"
        )


def _rank(n: int, confidence: float) -> int:
    return math.ceil((n + 1) * confidence - 1e-9)
