"""Anyone's photos: one folder of pictures for each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.data.dataset import Found, Pictures, register
from search_spaces.errors import InputError

if TYPE_CHECKING:
    import numpy as np

VALIDATION, TEST = 0.15, 0.15
PART_NAMES = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
Listed = tuple[list[str], Pictures]


@register("imagefolder")
def read(path: Path | None, download: bool) -> Found:
    """Your own photos, one folder for each class, or train, val and test folders of these; imagefolder:PATH"""
    if path is None:
        raise InputError("imagefolder needs the folder of your photos: imagefolder:PATH, with one folder in it for each class")
    if not path.is_dir():
        raise InputError(f"imagefolder: {path} {'is a file, not a folder' if path.exists() else 'does not exist'}")
    parts = {part: _list(folder) for part, folder in _part_folders(path).items()}
    classes = tuple(parts["train"][0])
    for part, (names, _) in parts.items():
        _check_same(path, part, classes, names)
    pictures = {part: listed for part, (_, listed) in parts.items()}
    added = _split_off(pictures, classes)
    return Found(classes, pictures["train"], pictures["validation"], pictures["test"], f"photos in {path}{added}")


def _part_folders(path: Path) -> dict[str, Path]:
    """The folders of the parts that PATH comes with; PATH itself as `train` when its folders are classes."""
    folders = {entry.name: entry for entry in _folders(path)}
    if not folders:
        raise InputError(f"{path} has no folders in it; imagefolder needs one folder of pictures for each class")
    known = {name: part for part, names in PART_NAMES.items() for name in names}
    if set(folders) <= set(known) and not ("train" in folders and _folders(folders["train"])):
        raise InputError(f"{path} has no folder train with one folder of pictures in it for each class")
    if "train" not in folders or not _folders(folders["train"]):
        return {"train": path}
    found: dict[str, Path] = {}
    for name in sorted(set(folders) & set(known)):
        if known[name] in found:
            raise InputError(f"{path} has both {found[known[name]].name} and {name}; keep one of them")
        found[known[name]] = folders[name]
    return {part: found[part] for part in PART_NAMES if part in found}


def _list(folder: Path) -> Listed:
    """The class names, sorted, and the pictures of `folder`, by class and file name; hidden ones are left out."""
    import numpy as np
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS, is_image_file

    names = [entry.name for entry in _folders(folder)]
    _check_classes(folder, names)

    class Visible(ImageFolder):  # type: ignore[misc]
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            return names, {name: label for label, name in enumerate(names)}

    def is_picture(file: str) -> bool:
        return is_image_file(file) and not any(map(_hidden, Path(file).relative_to(folder).parts))

    listed = Visible(folder, is_valid_file=is_picture, allow_empty=True)
    for label in sorted(set(range(len(names))) - set(listed.targets)):
        raise InputError(
            f"class folder {folder / names[label]} has no pictures ({' '.join(IMG_EXTENSIONS)}); add some or remove it"
        )
    return names, Pictures([Path(file) for file, _ in listed.samples], np.array(listed.targets, np.int64))


def _check_classes(folder: Path, names: list[str]) -> None:
    if not names:
        raise InputError(f"{folder} has no folders in it; imagefolder needs one folder of pictures for each class")
    if len(names) == 1:
        inner = folder / names[0]
        hint = f"; did you mean imagefolder:{inner}?" if _folders(inner) else ""
        raise InputError(f"{folder} has only one class folder, {names[0]}; at least two classes are needed{hint}")


def _check_same(path: Path, part: str, classes: tuple[str, ...], names: list[str]) -> None:
    extra, absent = sorted(set(names) - set(classes)), sorted(set(classes) - set(names))
    if extra or absent:
        wrong = [f"only train has {', '.join(absent)}"] * bool(absent) + [f"only {part} has {', '.join(extra)}"] * bool(extra)
        raise InputError(f"the classes of train and {part} in {path} differ: {'; '.join(wrong)}")


def _split_off(pictures: dict[str, Pictures], classes: tuple[str, ...]) -> str:
    """Adds to `pictures` the parts it lacks, taken from its training part; returns the words for the report."""
    from evaluators.data._splits import stratified

    shares = {part: share for part, share in {"validation": VALIDATION, "test": TEST}.items() if part not in pictures}
    if not shares:
        return ""
    train = pictures["train"]
    rest, *taken = stratified(train.labels, classes, list(shares.values()))
    for part, indexes in zip(shares, taken, strict=True):
        pictures[part] = _take(train, indexes)
    pictures["train"] = _take(train, rest)
    words = " and ".join(f"{100 * share:.0f} % for {part}" for part, share in shares.items())
    return f"; its training pictures split class by class, {words}"


def _take(pictures: Pictures, indexes: np.ndarray) -> Pictures:
    return Pictures([pictures.items[i] for i in indexes], pictures.labels[indexes])


def _folders(path: Path) -> list[Path]:
    return sorted((entry for entry in path.iterdir() if entry.is_dir() and not _hidden(entry.name)), key=lambda e: e.name)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
