"""Your own photos: one folder of images per class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

from evaluators.data._unreadable import absent, shown
from evaluators.data.dataset import Found, Images
from search_spaces.errors import InputError

Listed = tuple[list[str], Images]


def read(path: Path | None, download: bool) -> Found:
    """Your own photos, one folder per class, or train, val and test folders of these; imagefolder:PATH"""
    from evaluators.data._layout import part_folders
    from evaluators.data._splits import split_off

    if path is None:
        raise InputError("imagefolder needs the folder of your photos: imagefolder:PATH, with one folder per class in it")
    if not path.is_dir():
        wrong = f"{shown(path)} is a file, not a folder" if path.exists() else absent(path, Path.is_dir)
        raise InputError(f"imagefolder: {wrong}")
    left_out: Counter[str] = Counter()
    parts = {part: _list(folder, left_out) for part, folder in part_folders(path, left_out).items()}
    classes = tuple(parts["train"][0])
    for part, (names, _) in parts.items():
        _check_same(path, part, classes, names)
    images = {part: listed for part, (_, listed) in parts.items()}
    added = split_off(images, classes)
    source = f"photos in {shown(path)}{added}"
    return Found(classes, images["train"], images["validation"], images["test"], source, dict(left_out))


def _list(folder: Path, left_out: Counter[str]) -> Listed:
    """The class names, sorted, and the images of `folder` by class, folder and file name."""
    import numpy as np

    from evaluators.data._listing import images

    classes = _class_folders(folder, left_out)
    files, labels = [], []
    for label, places in enumerate(classes.values()):
        others: Counter[str] = Counter()
        found = images(places, others)
        if not found:
            raise InputError(_no_images(places[0], others))
        files += found
        labels += [label] * len(found)
        left_out.update(others)
    return list(classes), Images(files, np.array(labels, np.int64))


def _class_folders(folder: Path, left_out: Counter[str]) -> dict[str, list[Path]]:
    """The folders of each class by name, sorted; names are compared in Unicode NFC."""
    from evaluators.data._listing import folders

    found: dict[str, list[Path]] = {}
    for entry in folders(folder, left_out):
        name = unicodedata.normalize("NFC", entry.name)
        if shown(name) != name:
            raise InputError(f"the class folder {shown(entry)} has unprintable characters in its name; rename it")
        found.setdefault(name, []).append(entry)
    _check_classes(folder, found)
    return dict(sorted(found.items()))


def _no_images(folder: Path, others: Counter[str]) -> str:
    from evaluators.data._open import extensions
    from evaluators.data._words import left_out_words

    there = f"; skipped: {left_out_words(others)}" if others else ""
    return f"class folder {shown(folder)} has no images ({' '.join(sorted(extensions()))}); add some or remove it{there}"


def _check_classes(folder: Path, classes: dict[str, list[Path]]) -> None:
    from evaluators.data._listing import folders

    if not classes:
        raise InputError(f"{shown(folder)} contains no folders; imagefolder needs one folder of images per class")
    if len(classes) == 1:
        [(name, (inner, *_))] = classes.items()
        hint = f"; did you mean imagefolder:{shown(inner)}?" if folders(inner) else ""
        raise InputError(f"{shown(folder)} has only one class folder, {name}; at least two classes are needed{hint}")


def _check_same(path: Path, part: str, classes: tuple[str, ...], names: list[str]) -> None:
    extra, absent = sorted(set(names) - set(classes)), sorted(set(classes) - set(names))
    if extra or absent:
        wrong = [f"only train has {', '.join(absent)}"] * bool(absent) + [f"only {part} has {', '.join(extra)}"] * bool(extra)
        raise InputError(f"the classes of train and {part} in {shown(path)} differ: {'; '.join(wrong)}")
