"""Facts: what a journal must hold of a trial, and of everything else that is learnt, for a run to be told from it.

A record's checksum says that it is as it was written; here is checked that what was written can be understood. Keys that are
not named here, and kinds of notes, are passed over.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.schema import among_others, checked


def _genotype(text: str) -> str:
    if Genotype.parse(text).input is None:
        raise InputError("it names no input, as a run's networks do")
    return text


Ms = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
FromZero = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Contention = Annotated[float, Field(gt=-1, le=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Some = Annotated[int, Field(ge=1, le=10**15)]
GenotypeText = Annotated[str, AfterValidator(_genotype)]


@among_others
class Estimated(TypedDict):
    """nas.budget.estimate.Estimate.as_json."""

    predicted_ms: Ms | None
    bound_ms: Ms | None
    params: Count
    macs: Count
    extrapolated: NotRequired[FromZero]
    likely_ms: NotRequired[Ms | None]
    timed_ms: NotRequired[Ms | None]


@among_others
class Asked(Estimated):
    """The attributes of a trial (nas.run.trials)."""

    origin: str
    genotype: str
    reason: str
    outcome: Literal["rejected", "repeated", "screened", "running", "trained", "stopped", "failed"]
    seconds: NotRequired[FromZero]
    inherited: NotRequired[Share | None]


@among_others
class Failed(TypedDict):
    reason: str


@among_others
class Final(Estimated):
    """A network that was trained at length; without an accuracy, for a reason."""

    origin: str
    genotype: GenotypeText
    accuracy: NotRequired[Share]
    reason: NotRequired[str]
    probe: NotRequired[Share]
    inherited: NotRequired[Share | None]


@among_others
class Timed(TypedDict):
    """evaluators.latency.timing.measure.Measurement."""

    p50_ms: Ms
    p90_ms: Ms
    mean_ms: Ms
    std_ms: FromZero
    n: Count
    robust_ms: Ms
    spread: FromZero
    contention: Contention


@among_others
class Checked(Timed):
    """nas.budget.estimator.Estimator.checked."""

    timed_ms: Ms
    predicted_ms: NotRequired[Ms]
    score: NotRequired[FromZero]


@among_others
class Measured(Timed):
    """nas.budget.latency_budget.LatencyBudget.record."""

    as_usual_ms: Ms
    retrained: bool
    held: NotRequired[bool]
    holds_ms: NotRequired[Ms | None]
    usual: NotRequired[Contention]
    between: FromZero | None
    sessions: Some
    score: NotRequired[FromZero]


@among_others
class Probed(TypedDict):
    anchor: str
    accuracy: Share
    inherited: Share | None


@among_others
class Tested(TypedDict):
    accuracy: Share
    pictures: Some


@among_others
class Further(TypedDict):
    trials: Some
    growth: FromZero


@among_others
class Ended(TypedDict):
    why: str


@among_others
class Session(TypedDict):
    seconds: FromZero


_NOTES: dict[str, Any] = {
    "final": Final,
    "again": Final,
    "teacher": Final,
    "timing": Timed,
    "checked": Checked,
    "measured": Measured,
    "probe": Probed | Failed,
    "test": Tested,
    "further": Further,
    "ended": Ended,
    "session": Session,
    "finished": dict[str, Any],
    "reach": dict[str, Any],
}


def check_note(key: str, value: object) -> None:
    """Raises InputError unless a note `kind:ID` is of its kind's shape."""
    shape = _NOTES.get(key.partition(":")[0])
    if shape:
        checked(shape, value, f"note {key}")


def check_trial(number: int, attributes: Mapping[str, Any], accuracies: Mapping[int, float]) -> None:
    """Raises InputError unless a trial that was written whole has all that belongs to it."""
    where = f"trial {number}"
    checked(Asked, attributes, where)
    checked(dict[int, Share], accuracies, f"{where}, accuracies")
    if attributes["outcome"] in ("trained", "stopped") and not any(accuracies):
        raise InputError(f"{where}: it was trained, and no accuracy is kept")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
