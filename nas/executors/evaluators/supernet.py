"""Scores candidates with a weight-sharing supernet, trained once; a candidate then takes seconds."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.executors.job import Executor, Setting
    from nas.progress import Progress
    from nas.run.folder import Run

OPTIONS = ("supernet_epochs",)
TRAINS = False
HOW = "candidates are scored by a supernet, trained for --supernet-epochs"
DOES = "shares weights"


def executor(run: "Run", setting: "Setting", view: "Progress", trainer: Callable[[], "Executor"]) -> "Executor":
    """Train the supernet, resuming if needed; its weights are saved in the run folder."""
    from nas.executors.supernet import SupernetExecutor
    from nas.run.tensorboard import in_folder

    recipe = replace(run.resolved.recipe, epochs=run.config.supernet_epochs)
    events = in_folder(run.path, run.config.tensorboard)
    return SupernetExecutor(setting, run.space(), recipe, run.config.seed, kept=run.supernet, view=view, events=events)
