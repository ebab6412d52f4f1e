"""Measures this machine for a space, with progress and a summary."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from evaluators.latency.runtime import DEFAULT, at_precision
from evaluators.precision import Precision
from evaluators.processors import multiplies_int8
from nas.progress import Progress
from nas.run.config import Number
from nas.run.options import Option
from search_spaces.schema import strict
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from evaluators.latency.device.profile import Calibration, Profile


Effort = Literal["quick", "normal", "full"]


@strict
@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """Options of `nas device measure`."""

    space: Annotated[str, Option("Search space to calibrate for: a name or a .yaml file.")] = "mobile"
    device: Annotated[str, Option("Name of the profile.")] = "local"
    runtime: Annotated[str, Option("Runtime: onnxruntime_cpu, litert_cpu, ncnn_cpu ...")] = DEFAULT
    precision: Annotated[
        Precision | None, Option("Precision that networks are deployed in.", unset="the runtime's, float32 for most")
    ] = None
    threads: Annotated[Number, Option("Number of runtime threads.")] = 1
    effort: Annotated[Effort, Option("Number of networks, and time spent on each.")] = "normal"


def measured(progress: Progress, space: SearchSpace, config: MeasureConfig, anew: bool = True) -> Path:
    """Measure this machine for a space and print the prediction error; returns the profile's file.

    Waits while another process measures. Unless `anew`, a calibration of the space made by that process is used.
    """
    from evaluators.latency.device.choose_networks import EFFORTS
    from evaluators.latency.device.local_device import local_device
    from evaluators.latency.device.measure_profile import measure_profile
    from evaluators.latency.device.storage import user_folder

    runtime, (fit, verify, seconds) = at_precision(config.runtime, config.precision), EFFORTS[config.effort]
    device = local_device(runtime, config.threads)
    progress.say(
        f'Measuring {device} for the space "{space.name}": {fit + verify} networks. This is done once; the profile is saved.'
    )
    if device.dtype == "int8" and multiplies_int8() is False:
        progress.say("This processor has no int8 dot products (VNNI, dotprod): int8 may be no faster than float32 here.")
    profile = measure_profile(
        space,
        shares(progress),
        config.device,
        seconds,
        fit=fit,
        verify=verify,
        runtime=runtime,
        threads=config.threads,
        waiting=waiting(progress),
        anew=anew,
    )
    path = user_folder() / f"{profile.name}.json"
    say_quality(progress, profile, profile.calibration(space), path)
    return path


def config_of(device: str) -> MeasureConfig:
    """How a device is measured for another space: as its profile says, or by its name if it is this machine."""
    from evaluators.latency.device.local_device import LOCALS
    from evaluators.latency.device.profile import LOCAL
    from evaluators.latency.device.profile_files import load_profile

    if device in LOCALS:
        return MeasureConfig(device=LOCAL, precision=LOCALS[device])
    known = load_profile(device).device
    return MeasureConfig(device=device, runtime=known.runtime, threads=known.threads)


def waiting(progress: Progress) -> Callable[[], None]:
    """Callback that reports waiting for another process."""
    from evaluators.latency.device.locks import WAITING

    return lambda: progress.say(WAITING)


def shares(progress: Progress) -> Callable[[float, str], None]:
    """Progress callback for evaluators: takes a fraction 0..1 and a description, shows percent."""
    return lambda share, doing: progress.share(round(100 * share), 100, doing)


def say_quality(progress: Progress, profile: "Profile", calibration: "Calibration", path: Path) -> None:
    """Print a new profile's prediction error, and whether the machine was busy."""
    from evaluators.latency.predict.predictor import Predictor
    from nas.budget.latency_budget import BUSY

    quality, contention = Predictor(profile, calibration).quality, calibration.contention
    progress.say(
        f"Device profile: {path}\nPrediction error on {quality['n']:.0f} held-out networks: {quality['rmspe']:.1%} (root mean "
        f"square); {quality['within_10']:.0%} are within 10 %. "
        f"The upper bound is {quality['factor']:.2f} times the prediction.",
    )
    if contention > BUSY:
        progress.say(
            f"The machine was {contention:.0%} slower than when quiet (median) during the measurement. Budgets refer to this "
            "load; if it is not typical, measure again when the machine is less busy.",
        )
