"""Prints the progress and the result of a training."""

import json
from pathlib import Path

from rich.console import Console

from nas.console import make_console
from nas.output import Output
from nas.run.lock import is_running
from nas.run.teacher import TEACHER
from nas.training.plan import RESULT, open_plan, read_curve
from search_spaces.task import input_text


def status(folder: Path) -> None:
    """Print the progress of a training; works while another process is running it."""
    console, plan = make_console(), open_plan(folder)
    if (folder / RESULT).is_file():
        show(console, folder)
        return
    doing = "running" if is_running(folder) else f"interrupted; continue with `nas resume {folder}`"
    console.print(f"{folder}: {doing}", highlight=False)
    for place, what in ((folder / TEACHER, f"teacher {plan.distill}"), (folder, plan.network)):
        if curve := read_curve(place):
            console.print(
                f"{what}: {len(curve)} of {plan.recipe.epochs} epochs, validation {curve[-1]['accuracy']:.2%}",
                highlight=False,
            )


def end(output: Output, folder: Path) -> None:
    """Print the result of a finished training as asked for."""
    output.result(json.loads((folder / RESULT).read_text()), lambda console: show(console, folder))


def show(console: Console, folder: Path) -> None:
    """Print the result of a finished training."""
    found = json.loads((folder / RESULT).read_text())
    taught = f", distilled from {found['distilled_from']}" if found["distilled_from"] else ""
    images = found.get("images") or found["pictures"]  # named so until format 5
    console.print(f"{found['network']}: test {found['test_accuracy']:.2%}", style="bold", highlight=False)
    console.print(
        f"Validation {found['validation_accuracy']:.2%} after {len(found['epochs'])} epochs, one seed{taught}; training time "
        f"{found['training_seconds'] / 60:.1f} min; test set of {images['test']:,} images, used once.",
        highlight=False,
    )
    console.print(
        f"Initial weights: {found['begins']}. Trained, tested and exported at {input_text(tuple(found['input']))}.",
        highlight=False,
    )
    if before := found.get("before"):
        figures = "".join(f"; {name} {value:.4g}" for name, value in found["surgery"].items())
        console.print(
            f"Surgery {found['recipe']['surgery']['kind']}: {before['params']:,} to {found['params']:,} params, "
            f"{before['macs'] / 1e6:.1f} to {found['macs'] / 1e6:.1f} M MACs{figures}.",
            highlight=False,
        )
    console.print(f"Ready to deploy: {folder / 'export'}", highlight=False)
