"""The latency budget: what counts as within it, when to measure again, how checked candidates correct the bound."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluators.latency.timing.measure import slowdown
from nas.records import Final, Measured, Timed, Times

BUSY = 0.10  # contention above which a session says more about the machine than about the network
CLEARLY = 1.1  # so far over the budget, corrected for other work, that a quieter moment would not help
PAUSE_S = 20.0  # before each session that looks for a quieter moment
REPEATS = 5  # further sessions at most, that look for quieter moments before a network is declared over the budget
SESSIONS = 2  # that must at least hold the budget before a network is exported
SPARE = 0.03  # of the budget that a session must leave: as much does a network's time move from process to process
CHECK_EVERY = 4  # candidates that the bound accepted, of which the first is timed untrained all the same


@dataclass(frozen=True)
class LatencyBudget:
    """`percentile` (50 or 90) of the measured wall-clock times is within `budget_ms`; the bound holds at `confidence`.

    A session of measuring holds the budget when it leaves SPARE of it, so that the next process, whose memory lies elsewhere,
    holds it too (benchmarks/latency.md has the scatter between processes). In a session that met the machine quieter than it
    `usual`ly is (contention, in the median over the profile's networks), times count as if it had been as busy as that.
    Candidates are asked the same of their predicted upper bound; where nothing is `measured`, because the device is elsewhere,
    the bound must do, with nothing to spare.
    """

    budget_ms: float
    percentile: int = 50
    confidence: float = 0.95
    measured: bool = True
    usual: float = 0.0

    @property
    def allowed_ms(self) -> float:
        """What a session, or a candidate's upper bound, may come to under typical load."""
        return (1 - SPARE) * self.budget_ms if self.measured else self.budget_ms

    @property
    def quantile(self) -> float:
        """Standard errors above a time that its upper bound lies at the promised confidence."""
        return statistics.NormalDist().inv_cdf(self.confidence)

    def above_quiet(self, networks: Iterable[Any]) -> float:
        """How far the promised percentile under typical load lies above a quiet machine's median, by a profile's networks."""
        ratios = [n.p90_ms / n.p50_ms for n in networks] if self.percentile == 90 else []
        return slowdown(self.usual) * max(1.0, statistics.median(ratios or [1.0]))

    def figure_ms(self, times: Times) -> float:
        """The percentile that is promised."""
        return times.p90_ms if self.percentile == 90 else times.p50_ms

    def kept(self, final: Final, record: Measured | None) -> bool:
        """Whether a retrained network may win: it was trained, and held the budget afterwards."""
        if final.accuracy is None:
            return False
        return record is not None and record.retrained and record.held if self.measured else self.bounded(final.bound_ms)

    def bounded(self, bound_ms: float | None) -> bool:
        """Whether a predicted upper bound is within the budget; never so for what cannot be predicted."""
        return bound_ms is not None and bound_ms <= self.allowed_ms

    def undecided(self, sessions: Sequence[Timed], wanted: int) -> bool:
        """Whether a further session is needed: not once the budget was held, nor once it is surely over.

        It was held when at least `wanted` sessions held it, and more of them than did not: of a busy machine's sessions the
        luckiest say nothing of the next. It is over once REPEATS further ones could not show otherwise; surely over with one
        session over the budget on a quiet machine, or clearly over even when corrected for the other work.
        """
        left = wanted + REPEATS - len(sessions)
        inside = len(self._inside(sessions))
        if any(self._surely_ms(s) > self.budget_ms for s in sessions) or _enough(inside, len(sessions), wanted):
            return False
        return _enough(inside + left, len(sessions) + left, wanted)

    def pause_s(self, sessions: Sequence[Timed], wanted: int) -> float:
        """Seconds to wait before a session beyond the wanted ones: none unless the last one met a busy machine."""
        return PAUSE_S if len(sessions) >= wanted and sessions[-1].contention > BUSY else 0.0

    def record(self, sessions: Sequence[Timed], wanted: int) -> Measured:
        """The figures of a network from its sessions, and whether it held the budget in `wanted` of them, and in most.

        Milliseconds are those of the worst session that counts; busy sessions over the budget do not count when quieter
        ones held it. spread is within a session (standard error of robust_ms, relative), between the range of the
        promised percentile over sessions, relative to the least; contention is the largest; as_usual_ms is the upper median
        of what sessions come to under typical load; holds_ms is the least budget that they hold, None where they are too few.
        """
        holds_ms = self.holds_ms(sessions, wanted)
        held = holds_ms is not None and holds_ms <= self.budget_ms
        counted = self._inside(sessions) if held else list(sessions)
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
            as_usual_ms=sorted(map(self._usual_ms, sessions))[len(sessions) // 2],
            retrained=True,
        )

    def screening(self, session: Timed, above_quiet: float) -> Measured:
        """The figures of an untrained network from one session, and whether it would hold the budget.

        Retraining takes minutes, in which other work may pass, so a busy machine's session is judged by robust_ms, the time as
        of a quiet one, brought to typical load by `above_quiet`.
        """
        ms = self._usual_ms(session)
        if session.contention > BUSY:
            ms = min(ms, above_quiet * session.robust_ms)
        holds_ms = ms / (1 - SPARE)
        found = self.record([session], 1)
        return replace(found, held=holds_ms <= self.budget_ms, holds_ms=holds_ms, as_usual_ms=ms, retrained=False)

    def holds_ms(self, sessions: Sequence[Timed], wanted: int) -> float | None:
        """The least budget that a network's sessions hold, `wanted` of them and most; None where they are too few for any."""
        enough = max(wanted, len(sessions) // 2 + 1)
        if len(sessions) < enough:
            return None
        return max(sorted(map(self._least_ms, sessions))[enough - 1], *map(self._surely_ms, sessions))

    def _inside(self, sessions: Sequence[Timed]) -> list[Timed]:
        return [s for s in sessions if self._least_ms(s) <= self.budget_ms]

    def _least_ms(self, session: Timed) -> float:
        """The least budget that a session holds."""
        return self._usual_ms(session) / (1 - SPARE)

    def _usual_ms(self, session: Timed) -> float:
        """The figure of a session, as if the machine had been as busy as it usually is where it was quieter."""
        return max(1.0, slowdown(self.usual) / slowdown(session.contention)) * self.figure_ms(session)

    def _surely_ms(self, session: Timed) -> float:
        """The least budget that a session does not show to be surely exceeded."""
        least = self._least_ms(session)
        return least if session.contention <= BUSY else min(least, session.robust_ms / CLEARLY)


def _enough(inside: int, sessions: int, wanted: int) -> bool:
    return inside >= wanted and 2 * inside > sessions


def growth(scores: Iterable[float], confidence: float) -> float:
    """The factor, at least 1, by which the predictor's upper bound is widened after candidates were measured.

    A score is measured / bound of a network that the search had accepted. The predictor's own bound is conformal over
    networks drawn at random; a search hunts for under-predictions, so the networks that it accepts are scored anew:
    once any of them is above its bound, the ceil((n + 1) confidence)-th smallest score, which the next exchangeable one
    exceeds with probability at most 1 - confidence, multiplies the bound. While n is too small for that rank the largest
    score does, which the next one exceeds with probability 1 / (n + 1). This is adaptive conformal inference (Gibbs and
    Candes, arXiv:2106.00170) in its simplest form: recalibrated after each check rather than by steps of the level.

    As long as every score is at most 1 the factor is exactly 1: the noise of measuring does not change what is asked.
    """
    ordered = sorted(scores)
    if not ordered:
        return 1.0
    rank = min(len(ordered), math.ceil((len(ordered) + 1) * confidence - 1e-9))
    return max(1.0, ordered[rank - 1])
