"""What a run or training that goes on must find as it left it: the data set; and what it may find changed: versions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.run.versions import versions
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from evaluators.data import Dataset

DECISIVE = ("compact-nas", "torch", "torchvision", "onnxruntime")  # whose versions change what the same seed comes to
_PARTS = {"train": "training", "validation": "validation", "test": "test"}


def check_data(folder: Path, data: str, classes: Sequence[str], known: Mapping[str, Any], dataset: "Dataset") -> None:
    """Raises InputError, which names the difference, unless a data set is the one that the run in `folder` began with.

    `known` is that one's fingerprint; a run whose data were made up has none, and nothing is compared.
    """
    found = dataset.fingerprint
    if not known or (found == known and list(classes) == list(dataset.classes)):
        return
    said = [*_classes_changed(classes, dataset.classes), *_counts_changed(known, found)]
    said = said or ["as many images of the same classes, but not the same ones: names or sizes differ"]
    raise InputError(
        f"{data} is not the data set that {folder} began with: {'; '.join(said)}. With it as it was, `nas resume {folder}` "
        "goes on; for what it is now, begin anew"
    )


def _classes_changed(before: Sequence[str], now: Sequence[str]) -> list[str]:
    new, gone = ([name for name in one if name not in other] for one, other in ((now, before), (before, now)))
    said = [
        f"{what} {', '.join(names[:5])}{' ...' if names[5:] else ''}" for what, names in (("new", new), ("gone", gone)) if names
    ]
    if not said and list(before) == list(now):
        return []
    return [f"{len(before)} classes then, {len(now)} now ({'; '.join(said) or 'in another order'})"]


def _counts_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changed = [part for part in _PARTS if before.get(part) != now.get(part)]
    return [f"{before.get(part)} {_PARTS[part]} images then, {now.get(part)} now" for part in changed]


def versions_changed(before: Mapping[str, str]) -> str | None:
    """A sentence that names the versions that change results and are not those of the beginning, if there are any."""
    now = versions()
    changed = [f"{name} {before.get(name)} then, {now[name]} now" for name in DECISIVE if before.get(name) != now[name]]
    if not changed:
        return None
    return f"Other versions than at the beginning: {'; '.join(changed)}. The same seed may come to something else from here on."
