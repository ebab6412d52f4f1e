"""Prints a data set: images by class and part, and anything unusual."""

from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from nas.console import make_console

if TYPE_CHECKING:
    from evaluators.data.preprocess import Fit
    from nas.progress import Progress

_SIDE = 32  # images are read in full and kept at this size


def show(progress: "Progress", spec: str, fit: "Fit", download: bool) -> None:
    """Read every image of a data set and print what there is; raises InputError for what is wrong."""
    from evaluators.data import load

    dataset = load(
        spec,
        inputs=[(3, _SIDE, _SIDE)],
        fit=fit,
        download=download,
        stream=False,
        progress=lambda done, total: progress.share(done, total, "reading images"),
    )
    parts = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    counts = {name: np.bincount(part.labels, minlength=len(dataset.classes)) for name, part in parts.items()}
    table = Table("class", *counts, box=box.SIMPLE_HEAD)
    for label, name in enumerate(dataset.classes):
        table.add_row(name, *(f"{of_part[label]:,}" for of_part in counts.values()))
    console = make_console()
    console.print(table)
    for phrase in dataset.source.split("; "):
        console.print(phrase[0].upper() + phrase[1:], highlight=False)
