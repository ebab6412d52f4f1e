"""Trains each candidate briefly, from inherited weights if there is a donor."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.executors.job import Executor, Setting
    from nas.progress import Progress
    from nas.run.folder import Run

OPTIONS = ("epochs",)
TRAINS = True
HOW = "candidates are trained one by one, each for --epochs"
DOES = ""  # the default, needs no hint


def executor(run: "Run", setting: "Setting", view: "Progress", trainer: Callable[[], "Executor"]) -> "Executor":
    """The executor that trains the run's other networks."""
    return trainer()
