"""Tells training, validation and test folders from class folders by their names."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from evaluators.data._listing import folders, holds_images
from evaluators.data._unreadable import shown
from search_spaces.errors import InputError

PARTS = ("train", "validation", "test")
_WORDS = {
    "training": "train",
    "train": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "testing": "test",
    "test": "test",
}
_WORD = f"({'|'.join(_WORDS)})"
_FILLING = "(?:dataset|data|set|images|image|imgs|img|photos|pictures|samples|split|folder|files)*"
_FULL = re.compile(_FILLING + _WORD + _FILLING)


def part_of(name: str) -> str | None:
    """The set that a folder name stands for: Train, TRAIN_SET, val2017, "Test images"; None for other names."""
    found = _FULL.fullmatch(re.sub(r"[\W\d_]+", "", name.casefold()))
    return _WORDS[found[1]] if found else None


def part_folders(path: Path, left_out: Counter[str]) -> dict[str, Path]:
    """The folders of the training, validation and test sets that exist, in the order of PARTS.

    If the folders in `path` are classes, `path` itself is `train`. Other folders without images are counted in `left_out`.
    Raises InputError for ambiguous folders, which may be sets or classes.
    """
    inside = folders(path)
    if not inside:
        raise InputError(f"{shown(path)} contains no folders; imagefolder needs one folder of images per class")
    named = [folder for folder in inside if part_of(folder.name)]
    with_classes = [folder for folder in named if folders(folder)]
    if not with_classes and len(named) < len(inside):
        _check_classes_only(path, inside)
        return {"train": path}
    found = _by_part(path, with_classes)
    if "train" not in found:
        raise InputError(f"{shown(path)} has no folder train with one folder of images per class")
    for other in folders(path, left_out):
        if other not in with_classes:
            _leave_out(path, found["train"], other, left_out)
    return {part: found[part] for part in PARTS if part in found}


def _by_part(path: Path, named: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in named:
        part = part_of(folder.name)
        assert part is not None
        if part in found:
            raise InputError(f"{shown(path)} has both {shown(found[part].name)} and {shown(folder.name)}; keep one of them")
        found[part] = folder
    return found


def _leave_out(path: Path, train: Path, other: Path, left_out: Counter[str]) -> None:
    """Counts a folder next to the sets; raises InputError when it has images that would be lost."""
    if not holds_images(other):
        left_out["folders without images"] += 1
    elif part_of(other.name):
        raise InputError(
            f"{shown(other)} contains no folders; imagefolder needs one folder of images per class, as in "
            f"{shown(train.name)}; sort its images into class folders, or move it elsewhere"
        )
    else:
        raise InputError(
            f"{shown(path)} has {shown(train.name)} with class folders, and images in {shown(other.name)} next to it: is that "
            "a set or a class? Name the sets train, val and test, and move other folders elsewhere; a class has its images "
            "directly in its folder, not in subfolders"
        )


def _check_classes_only(path: Path, classes: Sequence[Path]) -> None:
    """Raises InputError when presumed class folders look like sets, or contain sets."""
    inner = {folder: {inside.name for inside in folders(folder)} for folder in classes}
    for folder, names in inner.items():
        parts = {part: name for name in sorted(names) if (part := part_of(name))}
        if "train" in parts and len(parts) > 1:
            raise InputError(
                f"the class folder {shown(folder)} contains folders {shown(' and '.join(parts.values()))}; imagefolder needs "
                "it the other way round: train, val and test, each with one folder per class"
            )
        seems = re.search(rf"(?<![a-z]){_WORD}", folder.name.casefold())
        alike = [other for other, others in inner.items() if seems and other != folder and len(names & others) > 1]
        if alike:
            raise InputError(
                f"{shown(folder.name)} and {shown(alike[0].name)} in {shown(path)} contain the same folders: are they sets or "
                "classes? Name the sets train, val and test; a class has its images directly in its folder"
            )
