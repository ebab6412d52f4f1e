"""check_dataset: test suite for a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluators.data._facts import in_several_parts
from evaluators.data._files import Files
from evaluators.data._registry import reader, summaries
from evaluators.data._render import Rendered
from evaluators.data.dataset import Dataset, Found, Images
from nas.testing.said import said
from search_spaces.resources import expanded

INPUTS = ((3, 12, 12), (3, 16, 16))


def check_dataset(spec: str) -> None:
    """Check a data set, NAME or NAME:PATH as for `--data`; raises AssertionError that says what is wrong.

    It must have a one-line summary and at least two classes with distinct names. Each part must have images (a uint8 array
    [N, H, W] or [N, H, W, 3], or existing files) and as many labels (int64 [N]); every class must be in the training set, and
    no image in two parts. Preprocessing must work, and reading it twice must give the same data. Nothing is downloaded.
    Raises InputError if there is no such data set, or if its reader does.
    """
    name, _, path = spec.partition(":")
    read = reader(name)
    summary = summaries()[name]
    assert 10 < len(summary) <= 120, f'data set {name} has the summary "{summary}", the first line of its reader\'s docstring'
    _check_found(spec, read(expanded(path) if path else None, False))
    _check_ready(spec)


def _check_found(spec: str, found: Found) -> None:
    assert isinstance(found, Found), f"data set {spec}: its reader returns {type(found).__name__}, not Found"
    classes = list(found.classes)
    named = all(isinstance(name, str) and name for name in classes)
    assert named and len(set(classes)) == len(classes) > 1, f"data set {spec}: its classes must be two or more, not {classes}"
    for word, part in (("training", found.train), ("validation", found.validation), ("test", found.test)):
        _check_images(part, f"data set {spec}, {word} set")
        _check_labels(part, f"data set {spec}, {word} set", classes)
    missing = [name for label, name in enumerate(classes) if label not in found.train.labels]
    assert not missing, f"data set {spec}: its training set has no image of {', '.join(missing)}"
    twice = in_several_parts(found)
    example = next((image for group in twice for _, image in group if isinstance(image, Path)), "")
    assert not twice, f"data set {spec}: {len(twice)} images are in two parts{f', such as {example}' if example else ''}"


def _check_images(part: Images, where: str) -> None:
    if isinstance(part.items, np.ndarray):
        shape = part.items.shape
        pixels = part.items.dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3))
        assert pixels, f"{where}: images must be uint8 [N, H, W] or [N, H, W, 3], not {part.items.dtype} {list(shape)}"
    else:
        absent = [file for file in part.items if not (isinstance(file, Path) and file.is_file())]
        assert not absent, f"{where}: {absent[0]!r} is not the path of a file"
    assert len(part.items) == len(part.labels) > 0, f"{where} has {len(part.items)} images and {len(part.labels)} labels"


def _check_labels(part: Images, where: str, classes: Sequence[str]) -> None:
    labels = part.labels
    assert labels.dtype == np.int64 and labels.ndim == 1, (
        f"{where}: labels must be int64 [N], not {labels.dtype} {labels.shape}"
    )
    within = labels.min() >= 0 and labels.max() < len(classes)
    assert within, f"{where}: labels must be 0 to {len(classes) - 1}, not {labels.min()} to {labels.max()}"


def _check_ready(spec: str) -> None:
    from evaluators.data import load

    with said(f"data set {spec} cannot be preprocessed"):
        first, second = (load(spec, inputs=INPUTS) for _ in range(2))
    assert first.name == spec.partition(":")[0] and first.source, f"data set {spec} has no source"
    assert "\n" not in first.source, f"data set {spec} has a source of more than one line"
    assert first.fingerprint == second.fingerprint, (
        f"data set {spec} has different images, labels or names when it is read again"
    )
    same = all(np.array_equal(one, other) for one, other in zip(_in_memory(first), _in_memory(second), strict=True))
    assert same, f"data set {spec} has different pixels when it is read again"


def _in_memory(data: Dataset) -> list[np.ndarray]:
    """Pixels held in memory, at the smallest input."""
    how = data.preprocessing(INPUTS[0], (0.5,), (0.5,))

    parts = [split.images for split in (data.train, data.validation, data.test)]
    return [images.at(how) if isinstance(images, Rendered) else images for images in parts if not isinstance(images, Files)]
