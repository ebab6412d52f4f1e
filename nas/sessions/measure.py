"""The measuring of a device for a space, with a progress bar, and what is said of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from evaluators.latency.runtime import DEFAULT
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
    """What the measuring of this machine is asked for."""

    space: Annotated[str, Option("Search space to calibrate for: a name or a .yaml file.")] = "mobile"
    device: Annotated[str, Option("Name of the profile.")] = "local"
    runtime: Annotated[str, Option("Runtime of the networks: onnxruntime_cpu, litert_cpu, ncnn_cpu ...")] = DEFAULT
    threads: Annotated[Number, Option("Threads of the runtime.")] = 1
    effort: Annotated[Effort, Option("How many networks, and how long each is timed.")] = "normal"


def measured(progress: Progress, space: SearchSpace, config: MeasureConfig, anew: bool = True) -> Path:
    """Measures this machine for a space, says how good predictions are; returns the profile's file.

    While another process measures it waits, and says so; unless `anew`, what that one measured for the space counts.
    """
    from evaluators.latency.device.choose_networks import EFFORTS
    from evaluators.latency.device.local_device import local_device
    from evaluators.latency.device.measure_profile import measure_profile
    from evaluators.latency.device.storage import user_folder

    device, (fit, verify, seconds) = local_device(config.runtime, config.threads), EFFORTS[config.effort]
    progress.say(f'Measuring {device} for the space "{space.name}": {fit + verify} networks; it is done once and kept.')
    profile = measure_profile(
        space,
        shares(progress),
        config.device,
        seconds,
        fit=fit,
        verify=verify,
        runtime=device.runtime,
        threads=config.threads,
        waiting=waiting(progress),
        anew=anew,
    )
    path = user_folder() / f"{profile.name}.json"
    say_quality(progress, profile, profile.calibration(space), path)
    return path


def waiting(progress: Progress) -> Callable[[], None]:
    """Says that another process is waited for."""
    return lambda: progress.say("Another process measures on this machine, which disturbs: this one waits until it is done.")


def shares(progress: Progress) -> Callable[[float, str], None]:
    """What long work in evaluators tells its share, 0 to 1, and its doing; shown in percent."""
    return lambda share, doing: progress.share(round(100 * share), 100, doing)


def say_quality(progress: Progress, profile: "Profile", calibration: "Calibration", path: Path) -> None:
    """Says how good a new profile's predictions are, and whether it was measured in a busy moment."""
    from evaluators.latency.predict.predictor import Predictor
    from nas.budget.latency_budget import BUSY

    quality, contention = Predictor(profile, calibration).quality, calibration.contention
    progress.say(
        f"Device profile: {path}\nOn {quality['n']:.0f} networks it was not fitted to, predictions are off by "
        f"{quality['rmspe']:.1%} (root mean square); {quality['within_10']:.0%} within 10 %. "
        f"The upper bound is {quality['factor']:.2f} times the prediction.",
    )
    if contention > BUSY:
        progress.say(
            f"Meanwhile the machine was {contention:.0%} slower than at its quietest, in the median. A budget is promised for "
            "that speed: where it is not the usual one, measure again in a quieter moment.",
        )
