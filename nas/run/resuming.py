"""Checks on resuming: the data set must be the same; changed versions get a warning."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.run.versions import versions
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from evaluators.data import Dataset

DECISIVE = ("compact-nas", "torch", "torchvision", "onnxruntime")  # packages whose version affects results
_PARTS = {"train": "training", "validation": "validation", "test": "test"}


def check_data(folder: Path, data: str, classes: Sequence[str], known: Mapping[str, Any], dataset: "Dataset") -> None:
    """Raise InputError, with the difference, unless the data set is the one that the run in `folder` started with.

    `known` is the original fingerprint; it is empty for synthetic data, which are not compared.
    """
    found = dataset.fingerprint
    if not known or (found == known and list(classes) == list(dataset.classes)):
        return
    said = [*_classes_changed(classes, dataset.classes), *_counts_changed(known, found)]
    said = said or ["the number of images and the classes are the same, but file names or sizes differ"]
    raise InputError(
        f"{data} is not the data set that {folder} started with: {'; '.join(said)}. Restore it and run `nas resume {folder}`, "
        "or start a new run"
    )


def _classes_changed(before: Sequence[str], now: Sequence[str]) -> list[str]:
    new, gone = ([name for name in one if name not in other] for one, other in ((now, before), (before, now)))
    said = [
        f"{what} {', '.join(names[:5])}{' ...' if names[5:] else ''}"
        for what, names in (("new", new), ("missing", gone))
        if names
    ]
    if not said and list(before) == list(now):
        return []
    return [f"{len(before)} classes before, {len(now)} now ({'; '.join(said) or 'in another order'})"]


def _counts_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changed = [part for part in _PARTS if before.get(part) != now.get(part)]
    return [f"{before.get(part)} {_PARTS[part]} images before, {now.get(part)} now" for part in changed]


def versions_changed(before: Mapping[str, str]) -> str | None:
    """Warning about changed versions of packages that affect results, if any."""
    now = versions()
    changed = [f"{name} {before.get(name)} before, {now[name]} now" for name in DECISIVE if before.get(name) != now[name]]
    if not changed:
        return None
    return f"Versions changed since the start: {'; '.join(changed)}. Results may differ from here on, even with the same seed."
