"""Facts: what a journal must hold of a trial, and of everything else that is learnt, for a run to be told from it.

A record's checksum says that it is as it was written; here is checked that what was written can be understood. Keys that are
not named here, and kinds of notes, are passed over.
"""

from functools import cache
from typing import Annotated, Any, Literal, NotRequired

from optuna.trial import FrozenTrial
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype


def _genotype(text: str) -> str:
    assert Genotype.parse(text).input is not None, "a run's networks name their input"
    return text


Ms = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
FromZero = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Contention = Annotated[float, Field(gt=-1, le=1e12, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Some = Annotated[int, Field(ge=1, le=10**15)]
GenotypeText = Annotated[str, AfterValidator(_genotype)]


class Estimated(TypedDict):
    """nas.estimate.Estimate.as_json."""

    predicted_ms: Ms | None
    bound_ms: Ms | None
    params: Count
    macs: Count
    extrapolated: NotRequired[FromZero]
    likely_ms: NotRequired[Ms | None]
    timed_ms: NotRequired[Ms | None]


class Asked(Estimated):
    """The attributes of a trial (nas.proposal)."""

    origin: str
    genotype: str
    reason: str
    outcome: Literal["rejected", "repeated", "screened", "running", "trained", "stopped", "failed"]
    seconds: NotRequired[FromZero]
    inherited: NotRequired[Share | None]


class Failed(TypedDict):
    reason: str


class Final(Estimated):
    """A network that was trained at length; without an accuracy, for a reason."""

    origin: str
    genotype: GenotypeText
    accuracy: NotRequired[Share]
    reason: NotRequired[str]
    probe: NotRequired[Share]
    inherited: NotRequired[Share | None]


class Timed(TypedDict):
    """evaluators.latency.measure.Measurement."""

    p50_ms: Ms
    p90_ms: Ms
    mean_ms: Ms
    std_ms: FromZero
    n: Count
    robust_ms: Ms
    spread: FromZero
    contention: Contention


class Checked(Timed):
    """nas.latencies.Latencies.checked."""

    timed_ms: Ms
    predicted_ms: NotRequired[Ms]
    score: NotRequired[FromZero]


class Measured(Timed):
    """nas.promise.Promise.record."""

    as_usual_ms: Ms
    retrained: bool
    held: NotRequired[bool]
    holds_ms: NotRequired[Ms | None]
    usual: NotRequired[Contention]
    between: FromZero | None
    sessions: Some
    score: NotRequired[FromZero]


class Probed(TypedDict):
    anchor: str
    accuracy: Share
    inherited: Share | None


class Tested(TypedDict):
    accuracy: Share
    pictures: Some


class Further(TypedDict):
    trials: Some
    growth: FromZero


class Ended(TypedDict):
    why: str


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
        _check(shape, value, f"note {key}")


def check_trial(trial: FrozenTrial) -> None:
    """Raises InputError unless a trial that was written whole has all that belongs to it."""
    where = f"trial {trial.number}"
    _check(Asked, trial.user_attrs, where)
    _check(dict[int, Share], trial.intermediate_values, f"{where}, accuracies")
    if trial.user_attrs["outcome"] in ("trained", "stopped") and not any(trial.intermediate_values):
        raise InputError(f"{where}: it was trained, and no accuracy is kept")


def _check(shape: Any, value: object, where: str) -> None:
    try:
        _adapter(shape).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {place}: {first['msg']}") from None


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)
