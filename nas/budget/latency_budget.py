"""LatencyBudget: whether a network is within the budget, when to measure again, how measurements correct the bound."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluators.latency.timing.measure import slowdown
from evaluators.precision import Precision
from nas.records import Final, Measured, Timed, Times

BUSY = 0.10  # contention above which the machine counts as busy
CLEARLY = 1.1  # factor over the budget, corrected for contention, above which measuring again is pointless
PAUSE_S = 20.0  # wait before measuring again on a busy machine
REPEATS = 5  # maximum number of extra sessions before a network is declared over budget
SESSIONS = 2  # sessions that must be within the budget before a network is exported
SPARE: dict[Precision, float] = {"float32": 0.03, "int8": 0.08}  # margins: share of the budget left free
CHECK_EVERY = 4  # of this many accepted candidates, one is measured untrained to check its bound


@dataclass(frozen=True)
class LatencyBudget:
    """Measured latency at `percentile` (50 or 90) must be within `budget_ms`; upper bounds have this `confidence`.

    An infinite `budget_ms` is no limit; latency is then measured for information.

    A session is within the budget if it leaves the margin `spare`, because latency differs between processes and hours, more
    so in int8, whose time depends on the shared cache (SPARE; benchmarks/latency.md, benchmarks/int8.md). `usual` is the
    typical load: the median contention over the profile's networks. Sessions on a quieter machine are scaled up to typical
    load. Candidates' predicted upper bounds must leave the same margin. If nothing is `measured`, because the device is
    remote, the bound alone decides, without a margin.
    """

    budget_ms: float
    percentile: int = 50
    confidence: float = 0.95
    measured: bool = True
    usual: float = 0.0
    spare: float = SPARE["float32"]

    @property
    def allowed_ms(self) -> float:
        """Latency limit for a session or a candidate's upper bound, under typical load."""
        return (1 - self.spare) * self.budget_ms if self.measured else self.budget_ms

    @property
    def quantile(self) -> float:
        """Number of standard errors from a measured latency to its upper bound, at `confidence`."""
        return statistics.NormalDist().inv_cdf(self.confidence)

    def above_quiet(self, networks: Iterable[Any]) -> float:
        """Factor from the median on a quiet machine to the percentile under typical load, from a profile's networks."""
        ratios = [n.p90_ms / n.p50_ms for n in networks] if self.percentile == 90 else []
        return slowdown(self.usual) * max(1.0, statistics.median(ratios or [1.0]))

    def figure_ms(self, times: Times) -> float:
        """The budget's percentile."""
        return times.p90_ms if self.percentile == 90 else times.p50_ms

    def kept(self, final: Final, record: Measured | None) -> bool:
        """Whether a retrained network is eligible to win: training succeeded and it is within the budget."""
        if final.accuracy is None:
            return False
        return record is not None and record.retrained and record.held if self.measured else self.bounded(final.bound_ms)

    def bounded(self, bound_ms: float | None) -> bool:
        """Whether a predicted upper bound is within the budget; False if there is none."""
        return math.isinf(self.budget_ms) or (bound_ms is not None and bound_ms <= self.allowed_ms)

    def undecided(self, sessions: Sequence[Timed], wanted: int) -> bool:
        """Whether another session is needed.

        The network is within the budget once at least `wanted` sessions, and a majority, are. It is over budget once REPEATS
        extra sessions could not change that, or after one session that is over budget on a quiet machine, or clearly over
        budget even corrected for contention.
        """
        left = wanted + REPEATS - len(sessions)
        inside = len(self._within(sessions))
        if any(self._not_exceeded_ms(s) > self.budget_ms for s in sessions) or _is_majority(inside, len(sessions), wanted):
            return False
        return _is_majority(inside + left, len(sessions) + left, wanted)

    def pause_s(self, sessions: Sequence[Timed], wanted: int) -> float:
        """Seconds to wait before the next session: 0, except before extra sessions after a busy one."""
        return PAUSE_S if len(sessions) >= wanted and sessions[-1].contention > BUSY else 0.0

    def record(self, sessions: Sequence[Timed], wanted: int) -> Measured:
        """Summarise a network's sessions; `held` if at least `wanted` sessions, and a majority, are within the budget.

        Latencies are from the worst counted session; if the budget is held, sessions over it are not counted. spread: within
        a session (relative standard error of robust_ms). between: range of the percentile over sessions, relative to the
        smallest. contention: the largest. as_usual_ms: upper median over sessions, scaled to typical load. holds_ms: smallest
        budget that the sessions hold, None if there are too few.
        """
        holds_ms = self.holds_ms(sessions, wanted)
        held = holds_ms is not None and holds_ms <= self.budget_ms
        counted = self._within(sessions) if held else list(sessions)
        figures = [self.figure_ms(s) for s in counted]
        worst = counted[figures.index(max(figures))]
        return Measured(
            p50_ms=worst.p50_ms,
            p90_ms=worst.p90_ms,
            mean_ms=worst.mean_ms,
            std_ms=worst.std_ms,
            n=sum(s.n for s in counted),
            robust_ms=statistics.median(s.robust_ms for s in counted),
            spread=max(s.spread for s in counted),
            between=max(figures) / min(figures) - 1 if len(figures) > 1 else None,
            contention=max(s.contention for s in counted),
            usual=self.usual,
            sessions=len(sessions),
            set_aside=len(sessions) - len(counted),
            held=held,
            holds_ms=holds_ms,
            as_usual_ms=sorted(map(self._typical_load_ms, sessions))[len(sessions) // 2],
            retrained=True,
        )

    def screening(self, session: Timed, above_quiet: float) -> Measured:
        """Summarise the one session of an untrained network; `held` if it would be within the budget.

        Other load may have passed by the time the network is retrained, so a session on a busy machine is judged by robust_ms,
        its latency on a quiet machine, scaled to typical load by `above_quiet`.
        """
        ms = self._typical_load_ms(session)
        if session.contention > BUSY:
            ms = min(ms, above_quiet * session.robust_ms)
        holds_ms = ms / (1 - self.spare)
        found = self.record([session], 1)
        return replace(found, held=holds_ms <= self.budget_ms, holds_ms=holds_ms, as_usual_ms=ms, retrained=False)

    def holds_ms(self, sessions: Sequence[Timed], wanted: int) -> float | None:
        """Smallest budget held by `wanted` sessions and a majority; None if there are too few sessions."""
        enough = max(wanted, len(sessions) // 2 + 1)
        if len(sessions) < enough:
            return None
        return max(sorted(map(self._smallest_budget_ms, sessions))[enough - 1], *map(self._not_exceeded_ms, sessions))

    def _within(self, sessions: Sequence[Timed]) -> list[Timed]:
        return [s for s in sessions if self._smallest_budget_ms(s) <= self.budget_ms]

    def _smallest_budget_ms(self, session: Timed) -> float:
        """Smallest budget that a session holds."""
        return self._typical_load_ms(session) / (1 - self.spare)

    def _typical_load_ms(self, session: Timed) -> float:
        """Percentile of a session, scaled up to typical load if the machine was quieter."""
        return max(1.0, slowdown(self.usual) / slowdown(session.contention)) * self.figure_ms(session)

    def _not_exceeded_ms(self, session: Timed) -> float:
        """Smallest budget that a session does not clearly exceed."""
        least = self._smallest_budget_ms(session)
        return least if session.contention <= BUSY else min(least, session.robust_ms / CLEARLY)


def _is_majority(inside: int, sessions: int, wanted: int) -> bool:
    return inside >= wanted and 2 * inside > sessions


def growth(scores: Iterable[float], confidence: float) -> float:
    """Factor >= 1 that widens the predictor's upper bound, given scores of measured candidates.

    A score is measured latency over bound, of a network that the search accepted. The predictor's bound is conformal over
    random networks, but a search selects under-predicted ones, so it is recalibrated on accepted candidates: the factor is the
    ceil((n + 1) confidence)-th smallest score, which the next exchangeable one exceeds with probability at most
    1 - confidence. If n is too small for that rank, it is the largest score, which the next one exceeds with probability
    1 / (n + 1). This is adaptive conformal inference (Gibbs and Candes, arXiv:2106.00170) in its simplest form: recalibrated
    after each measurement instead of by steps of the level.

    While all scores are at most 1, the factor is exactly 1, so measurement noise does not affect the search.
    """
    ordered = sorted(scores)
    if not ordered:
        return 1.0
    rank = min(len(ordered), math.ceil((len(ordered) + 1) * confidence - 1e-9))
    return max(1.0, ordered[rank - 1])
