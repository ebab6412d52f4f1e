"""Shared weights of all candidates, which are trained once; then a candidate takes seconds."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.executors.job import Executor, Setting
    from nas.progress import Progress
    from nas.run.folder import Run

OPTIONS = ("supernet_epochs",)
TRAINS = False
HOW = "a supernet scores candidates, and is trained for --supernet-epochs"
DOES = "shares weights"


def executor(run: "Run", setting: "Setting", view: "Progress", trainer: Callable[[], "Executor"]) -> "Executor":
    """Trains the shared weights, as far as they are not trained yet; they are kept in the run."""
    from nas.executors.supernet import SupernetExecutor

    recipe = replace(run.resolved.recipe, epochs=run.config.supernet_epochs)
    return SupernetExecutor(setting, run.space(), recipe, run.config.seed, kept=run.supernet, view=view)
