"""Loads the data set of a session."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluators.data.preprocess import Fit, Interpolation
from nas.progress import Progress
from search_spaces.resources import expanded
from search_spaces.task import Input

if TYPE_CHECKING:
    from evaluators.data import Dataset


def load_data(
    progress: Progress,
    data: str,
    inputs: Sequence[Input],
    *,
    fit: Fit,
    interpolation: Interpolation,
    download: bool = False,
) -> "Dataset":
    """Load the data set and print its source."""
    from evaluators.data import load

    dataset = load(
        data,
        inputs=inputs,
        fit=fit,
        interpolation=interpolation,
        download=download,
        progress=lambda done, total: progress.share(done, total, "reading images"),
    )
    progress.say(f"Data: {dataset.source}")
    return dataset


def absolute(data: str) -> str:
    """The data spec with an absolute path, so that a run can be resumed from any folder."""
    name, colon, path = data.partition(":")
    return f"{name}:{expanded(path).resolve()}" if colon else name
