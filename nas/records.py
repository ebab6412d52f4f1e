"""Records: what a run's journal keeps, one dataclass a kind, with the bounds within which a run can be told from it.

A trial's record (Asked) is kept as its attributes, any other, a Note, under `kind:ID`; nas.run.notes writes and reads them. In
JSON a field is left out while it has its default, and a class's own fields come after those of its bases, the last base first.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, Field

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.schema import among_others

FORMAT = 8
"""Version of what a run folder holds: run.yaml, and these records."""


def _genotype(text: str) -> str:
    if Genotype.parse(text).input is None:
        raise InputError("it names no input, as a run's networks do")
    return text


Ms = Annotated[float, Field(gt=0, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
FromZero = Annotated[float, Field(ge=0, le=1e12)]
Contention = Annotated[float, Field(gt=-1, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Some = Annotated[int, Field(ge=1, le=10**15)]
GenotypeText = Annotated[str, AfterValidator(_genotype)]
Outcome = Literal["rejected", "repeated", "screened", "running", "trained", "stopped", "failed"]


@among_others
@dataclass(frozen=True, kw_only=True)
class Record:
    """What the journal keeps of a thing."""


@dataclass(frozen=True, kw_only=True)
class Note(Record):
    """A record of something other than a trial; `KIND` is the kind in its key."""

    KIND: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Estimated(Record):
    """nas.budget.estimate.Estimate: milliseconds, parameters, multiply-accumulates, the share beyond the device profile.

    What cannot be predicted has no predicted_ms and bound_ms, what was not timed no timed_ms.
    """

    predicted_ms: Ms | None
    bound_ms: Ms | None
    params: Count
    macs: Count
    extrapolated: FromZero
    likely_ms: Ms | None
    timed_ms: Ms | None


@dataclass(frozen=True, kw_only=True)
class Named(Record):
    """A network; its `origin` is search, random, anchor:NAME, or what the teacher was called."""

    origin: str
    genotype: str

    @property
    def anchor(self) -> str | None:
        """The anchor's name; None for other networks."""
        return self.origin.removeprefix("anchor:") if self.origin.startswith("anchor:") else None


@dataclass(frozen=True, kw_only=True)
class Asked(Estimated, Named):
    """The attributes of a trial (nas.run.trials says what outcomes mean); `seconds` of training, share `inherited`."""

    reason: str
    outcome: Outcome
    seconds: FromZero = 0.0
    inherited: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Begun(Named):
    """A training: from which `seed`, and how many `seconds` it took."""

    genotype: GenotypeText
    seed: Count
    seconds: FromZero


@dataclass(frozen=True, kw_only=True)
class Final(Estimated, Begun, Note):
    """`final:ID`: a network that was trained at length. Validation `accuracy` is the last epoch's; without it, for a `reason`.

    `probe` is the accuracy before training, with the share of weights that are `inherited`; `accuracies` are each epoch's.
    """

    KIND = "final"
    probe: Share | None = None
    inherited: Share | None = None
    accuracy: Share | None = None
    accuracies: tuple[Share, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Again(Final):
    """`again:ID/K`: likewise, from the seed K of further ones, from 2 on."""

    KIND = "again"


@dataclass(frozen=True, kw_only=True)
class Teacher(Final):
    """`teacher:ID`: likewise, of the network that teaches the others."""

    KIND = "teacher"


@dataclass(frozen=True, kw_only=True)
class Probe(Note):
    """`probe:ID`: the linear probe of a hand-designed network on what it inherits, in `seconds`; or the `reason` for none."""

    KIND = "probe"
    anchor: str | None = None
    accuracy: Share | None = None
    inherited: Share | None = None
    seconds: FromZero | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tested(Note):
    """`test:ID` or `test:ID/K`: scores on the test set, of so many images; `accuracy` is that of the run's metric."""

    KIND = "test"
    accuracy: Share
    images: Annotated[Some, Field(validation_alias=AliasChoices("images", "pictures"))]  # as they were called until format 7
    top1: Share
    balanced_accuracy: Share
    macro_f1: Share


@dataclass(frozen=True, kw_only=True)
class Times(Record):
    """Milliseconds of one inference over `n` runs, as evaluators.latency.timing.measure.Measurement."""

    p50_ms: Ms
    p90_ms: Ms
    mean_ms: Ms
    std_ms: FromZero
    n: Count
    robust_ms: Ms
    spread: FromZero


@dataclass(frozen=True, kw_only=True)
class Timed(Times):
    """Times of one session."""

    contention: Contention
    clock: str
    counted: Count


@dataclass(frozen=True, kw_only=True)
class At(Record):
    """When it was, ISO 8601 in UTC."""

    at: str


@dataclass(frozen=True, kw_only=True)
class Timing(Timed, At, Note):
    """`timing:ID/untrained/K`, `timing:ID/retrained/K`: session K of measuring a network."""

    KIND = "timing"


@dataclass(frozen=True, kw_only=True)
class Foreseen(Record):
    """What was predicted, in milliseconds; None where the device profile does not cover the network."""

    predicted_ms: Ms | None = None
    bound_ms: Ms | None = None


@dataclass(frozen=True, kw_only=True)
class Checked(Timed, Foreseen, Note):
    """`checked:ID`: a network that the search timed untrained (nas.budget.estimator.Estimator.checked).

    timed_ms: the upper bound of its time under typical load. score: time over own bound, if it has one.
    """

    KIND = "checked"
    timed_ms: Ms
    score: FromZero | None = None


@dataclass(frozen=True, kw_only=True)
class Measured(Times, Note):
    """`measured:ID`: what a network's sessions come to (nas.budget.latency_budget.LatencyBudget.record), its worst one's times.

    score: as_usual_ms over own bound, of networks that are no anchors. retrained: whether it was measured as it is exported.
    """

    KIND = "measured"
    between: FromZero | None
    contention: Contention
    usual: Contention
    sessions: Some
    set_aside: Count
    held: bool
    holds_ms: Ms | None
    as_usual_ms: Ms
    retrained: bool
    score: FromZero | None = None


@among_others
@dataclass(frozen=True, kw_only=True)
class SurveyedAnchor:
    """An anchor's prediction, None where the profile does not cover an operation; `fits`: its bound is in the budget."""

    name: str
    predicted_ms: Ms | None
    bound_ms: Ms | None
    fits: bool


@dataclass(frozen=True, kw_only=True)
class Survey(Note):
    """`survey:space`: predicted milliseconds of `samples` genotypes drawn from a space.

    `share` of them have their upper bound within `allowed_ms`, which is what the budget allows it; `share_error` is its
    binomial standard error, taken at (k + 1) / (n + 2) so that it is not 0 when none or all of them have. `refused` more
    have an operation that the device profile does not cover.
    """

    KIND = "survey"
    budget_ms: Ms
    allowed_ms: Ms
    samples: Count
    refused: Count
    fastest_ms: Ms
    fastest_bound_ms: Ms
    median_ms: Ms
    slowest_ms: Ms
    share: Share
    share_error: FromZero
    anchors: tuple[SurveyedAnchor, ...]


@dataclass(frozen=True, kw_only=True)
class Further(Note):
    """`further:search`: so many `trials` more were asked for, with the bound `growth` times as high."""

    KIND = "further"
    trials: Some
    growth: FromZero


@dataclass(frozen=True, kw_only=True)
class Ended(Note):
    """`ended:search`, `ended:baseline`: why no more was asked for before all trials were."""

    KIND = "ended"
    why: str


@dataclass(frozen=True, kw_only=True)
class Session(Note):
    """`session:TIME`: how many seconds the session that began then has taken."""

    KIND = "session"
    seconds: FromZero


@dataclass(frozen=True, kw_only=True)
class Finished(At, Note):
    """`finished:run`: all was done."""

    KIND = "finished"


_ALL = (Final, Again, Teacher, Probe, Tested, Timing, Checked, Measured, Survey, Further, Ended, Session, Finished)
KINDS: dict[str, type[Note]] = {kind.KIND: kind for kind in _ALL}
FORMERLY = {"survey": "reach"}
"""What kinds were called in format 7 and before, where that was something else."""
