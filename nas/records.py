"""Records of a run's journal: one dataclass per kind, with the valid range of each field.

A trial's record (Asked) is stored as its attributes, any other (Note) under `kind:ID` (nas.run.notes); defaults are omitted.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, Field

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.schema import among_others

FORMAT = 8  # format version of run folders: run.yaml and these records


def _genotype(text: str) -> str:
    if Genotype.parse(text).input is None:
        raise InputError("it must specify an input, as all networks of a run do")
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
    """Base of records."""


@dataclass(frozen=True, kw_only=True)
class Note(Record):
    """A record other than a trial's; `KIND` is the kind in its key."""

    KIND: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Estimated(Record):
    """Fields of nas.budget.estimate.Estimate; latencies that are not known are None, sizes (of earlier versions) 0."""

    predicted_ms: Ms | None
    bound_ms: Ms | None
    params: Count
    macs: Count
    extrapolated: FromZero
    likely_ms: Ms | None
    timed_ms: Ms | None
    size_bytes: Count = 0
    memory_bytes: Count = 0


@dataclass(frozen=True, kw_only=True)
class Named(Record):
    """A network; its `origin` is search, random, anchor:NAME, or the teacher's label."""

    origin: str
    genotype: str

    @property
    def anchor(self) -> str | None:
        """Name of the anchor; None for other networks."""
        return self.origin.removeprefix("anchor:") if self.origin.startswith("anchor:") else None


@dataclass(frozen=True, kw_only=True)
class Asked(Estimated, Named):
    """Attributes of a trial (outcomes: see nas.run.trials), with `seconds` of training and the share `inherited`."""

    reason: str
    outcome: Outcome
    seconds: FromZero = 0.0
    inherited: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Begun(Named):
    """A training with its `seed`, and the `seconds` it took."""

    genotype: GenotypeText
    seed: Count
    seconds: FromZero


@dataclass(frozen=True, kw_only=True)
class Final(Estimated, Begun, Note):
    """`final:ID`: a retrained network. Validation `accuracy` is the last epoch's; None if training failed for a `reason`.

    `probe` is the linear probe's accuracy before training, `inherited` the share of inherited weights, `accuracies` has all
    epochs.
    """

    KIND = "final"
    probe: Share | None = None
    inherited: Share | None = None
    accuracy: Share | None = None
    accuracies: tuple[Share, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Again(Final):
    """`again:ID/K`: a retraining with another seed, K = 2, 3, ..."""

    KIND = "again"


@dataclass(frozen=True, kw_only=True)
class Teacher(Final):
    """`teacher:ID`: the training of the teacher."""

    KIND = "teacher"


@dataclass(frozen=True, kw_only=True)
class Probe(Note):
    """`probe:ID`: linear probe of a hand-designed network with inherited weights, or the `reason` why it failed."""

    KIND = "probe"
    anchor: str | None = None
    accuracy: Share | None = None
    inherited: Share | None = None
    seconds: FromZero | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tested(Note):
    """`test:ID` or `test:ID/K`: scores of the exported file, of `bytes`, on the test set; `accuracy` is by the run's metric.

    With int8, `float_` fields are of float32. `mistakes` are (index of an image, predicted class, its probability).
    """

    KIND = "test"
    accuracy: Share
    images: Annotated[Some, Field(validation_alias=AliasChoices("images", "pictures"))]  # named so until format 7
    top1: Share
    balanced_accuracy: Share
    macro_f1: Share
    bytes: Some | None = None
    float_accuracy: Share | None = None
    float_bytes: Some | None = None
    float_p50_ms: Ms | None = None
    confusion: tuple[tuple[Count, ...], ...] = ()
    mistakes: tuple[tuple[Count, Count, Share], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Times(Record):
    """Latency over `n` runs in milliseconds, as in evaluators.latency.timing.measure.Measurement."""

    p50_ms: Ms
    p90_ms: Ms
    mean_ms: Ms
    std_ms: FromZero
    n: Count
    robust_ms: Ms
    spread: FromZero


@dataclass(frozen=True, kw_only=True)
class Timed(Times):
    """Latency in one session."""

    contention: Contention
    clock: str
    counted: Count


@dataclass(frozen=True, kw_only=True)
class At(Record):
    """A point in time, ISO 8601 in UTC."""

    at: str


@dataclass(frozen=True, kw_only=True)
class Timing(Timed, At, Note):
    """`timing:ID/untrained/K`, `timing:ID/retrained/K`: session K of a network's measurement."""

    KIND = "timing"


@dataclass(frozen=True, kw_only=True)
class Checked(Timed, Note):
    """`checked:ID`: a network measured untrained during the search (nas.budget.estimator.Estimator.checked).

    timed_ms: upper bound of its latency under typical load. score: latency over predicted bound.
    """

    KIND = "checked"
    predicted_ms: Ms | None = None
    bound_ms: Ms | None = None
    timed_ms: Ms
    score: FromZero | None = None


@dataclass(frozen=True, kw_only=True)
class Measured(Times, Note):
    """`measured:ID`: summary of a network's sessions (nas.budget.latency_budget.LatencyBudget.record).

    score: as_usual_ms over predicted bound, except for anchors. retrained: whether it was measured as exported.
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
    """An anchor's predicted latency, None if not covered; whether it `fits` the budgets, or the `reason` if it is too large."""

    name: str
    predicted_ms: Ms | None
    bound_ms: Ms | None
    fits: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Survey(Note):
    """`survey:space`: predicted latency, size and memory of `samples` random genotypes of a space.

    `share` of them are within the budgets, latency by an upper bound within `allowed_ms`, the budget less the margin;
    `share_error` is its binomial standard error, computed at (k + 1) / (n + 2) so that it is not 0 if none or all fit.
    `refused` more genotypes have an operation that the device profile does not cover. allowed_ms is None without a latency
    budget. Sizes and memory are in bytes at the run's precision, 0 in runs of earlier versions.
    """

    KIND = "survey"
    allowed_ms: Ms | None
    samples: Count
    refused: Count
    fastest_ms: Ms
    fastest_bound_ms: Ms
    median_ms: Ms
    slowest_ms: Ms
    share: Share
    share_error: FromZero
    anchors: tuple[SurveyedAnchor, ...]
    smallest_size_bytes: Count = 0
    median_size_bytes: Count = 0
    smallest_memory_bytes: Count = 0
    median_memory_bytes: Count = 0


@dataclass(frozen=True, kw_only=True)
class Further(Note):
    """`further:search`: `trials` were added, with the upper bound scaled by `growth`."""

    KIND = "further"
    trials: Some
    growth: FromZero


@dataclass(frozen=True, kw_only=True)
class Ended(Note):
    """`ended:search`, `ended:baseline`: why a search ended before all trials were proposed."""

    KIND = "ended"
    why: str


@dataclass(frozen=True, kw_only=True)
class Session(Note):
    """`session:TIME`: duration of the session started at TIME."""

    KIND = "session"
    seconds: FromZero


@dataclass(frozen=True, kw_only=True)
class Finished(At, Note):
    """`finished:run`: the run is complete."""

    KIND = "finished"


_ALL = (Final, Again, Teacher, Probe, Tested, Timing, Checked, Measured, Survey, Further, Ended, Session, Finished)
KINDS: dict[str, type[Note]] = {kind.KIND: kind for kind in _ALL}
FORMERLY = {"survey": "reach"}  # former names of kinds, until format 7
