"""The trials that a model is fitted to: all of a usual search, and of a long one those that matter for the next proposal."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.run.trials import Proposal, Trials

MOST = 300  # evaluated trials up to which all are used
_BEST, _LATEST, _OTHERS = 96, 96, 64  # otherwise: best and latest trials, and others at even distances
_FINISHED = 200  # otherwise: fully trained trials, the latest, for the relation between early and final accuracies


@dataclass(frozen=True)
class Local:
    """`evaluated`: evaluated and failed trials to fit to, by number; `finished`: fully trained ones, by number.

    The latest trials are those around which the search is now; the others hold the model outside of these and the best. With
    a second objective the best are those on the Pareto front first.
    """

    evaluated: list[Proposal]
    finished: list[Proposal]

    @classmethod
    def of(cls, seen: Trials) -> "Local":
        if len(seen.ended) <= MOST:
            evaluated = [seen.numbered(number) for number in seen.ended]
            return cls(evaluated, [t for t in evaluated if t.outcome == "trained"])
        best = [*_spread([t.number for t in seen.front], _BEST), *(number for _, number in seen.best[:_BEST])][:_BEST]
        kept = {*best, *seen.ended[-_LATEST:], *_spread(seen.ended, _OTHERS)}
        finished = [seen.numbered(number) for number in seen.finished[-_FINISHED:]]
        return cls([seen.numbered(number) for number in sorted(kept)], finished)


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """Up to `count` of them at even distances, the first and the last among them."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[i * (len(numbers) - 1) // (count - 1)] for i in range(count)]
