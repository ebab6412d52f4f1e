"""A short training of each candidate, where there is a donor from its weights on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.executors.job import Executor, Setting
    from nas.progress import Progress
    from nas.run.folder import Run

OPTIONS = ("epochs",)
TRAINS = True
HOW = "candidates are trained one by one, each for --epochs"
DOES = ""  # it is the default


def executor(run: "Run", setting: "Setting", view: "Progress", trainer: Callable[[], "Executor"]) -> "Executor":
    """What trains the run's other networks, too."""
    return trainer()
