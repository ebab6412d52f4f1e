"""The measuring of a device for a space, with a progress bar, and what is said of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nas.console import make_bar
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from evaluators.latency.device.profile import Calibration, Profile


Report = Callable[[float, str], None]


def measured(
    console: Console,
    space: SearchSpace,
    name: str,
    runtime: str = "",
    threads: int = 1,
    effort: str = "normal",
    anew: bool = True,
) -> Path:
    """Measures this machine for a space with a progress bar, prints how good predictions are; returns the profile's file.

    While another process measures it waits, and says so; unless `anew`, what that one measured for the space counts.
    """
    from evaluators.latency.device.choose_networks import EFFORTS
    from evaluators.latency.device.local_device import local_device
    from evaluators.latency.device.measure_profile import measure_profile
    from evaluators.latency.device.storage import user_folder
    from evaluators.latency.runtime import DEFAULT

    device, (fit, verify, seconds) = local_device(runtime or DEFAULT, threads), EFFORTS[effort]
    console.print(f'Measuring {device} for the space "{space.name}": {fit + verify} networks; it is done once and kept.')
    with bar(console, "measuring") as report:
        profile = measure_profile(
            space,
            report,
            name,
            seconds,
            fit=fit,
            verify=verify,
            runtime=device.runtime,
            threads=threads,
            waiting=waiting(console),
            anew=anew,
        )
    path = user_folder() / f"{profile.name}.json"
    print_quality(console, profile, profile.calibration(space), path)
    return path


def waiting(console: Console) -> Callable[[], None]:
    """Says that another process is waited for."""
    return lambda: console.print("Another process measures on this machine, which disturbs: this one waits until it is done.")


@contextmanager
def bar(console: Console, what: str) -> Iterator[Report]:
    with make_bar(console) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share, doing: bar.update(task, completed=share, description=doing)


def print_quality(console: Console, profile: "Profile", calibration: "Calibration", path: Path) -> None:
    """Says how good a new profile's predictions are, and whether it was measured in a busy moment."""
    from evaluators.latency.predict.predictor import Predictor
    from nas.budget.latency_budget import BUSY

    quality, contention = Predictor(profile, calibration).quality, calibration.contention
    console.print(
        f"Device profile: {path}\nOn {quality['n']:.0f} networks it was not fitted to, predictions are off by "
        f"{quality['rmspe']:.1%} (root mean square); {quality['within_10']:.0%} within 10 %. "
        f"The upper bound is {quality['factor']:.2f} times the prediction.",
        highlight=False,
    )
    if contention > BUSY:
        console.print(
            f"Meanwhile the machine was {contention:.0%} slower than at its quietest, in the median. A budget is promised for "
            "that speed: where it is not the usual one, measure again in a quieter moment.",
            highlight=False,
        )
