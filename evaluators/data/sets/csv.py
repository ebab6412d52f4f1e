"""Your own photos, listed with their labels in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evaluators.data._unreadable import absent, shown
from evaluators.data.dataset import Found, Images
from search_spaces.errors import InputError, near_miss, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTS = {"train": "train", "val": "validation", "validation": "validation", "valid": "validation", "test": "test"}


class _Row(NamedTuple):
    line: int
    file: Path
    label: str
    part: str


def read(path: Path | None, download: bool) -> Found:
    """Your own photos, listed in a CSV file with the columns path and label, and perhaps part (train, val, test); csv:FILE"""
    from evaluators.data._splits import split_off

    if path is None:
        raise InputError("csv needs the file: csv:FILE, with the columns path and label")
    if not path.is_file():
        wrong = f"{shown(path)} is a folder, not a file" if path.is_dir() else absent(path, Path.is_file)
        raise InputError(f"csv: {wrong}")
    rows = list(_rows(path))
    _check_files(path, rows)
    classes = tuple(sorted({row.label for row in rows}))
    if len(classes) < 2:
        raise InputError(f"{shown(path)} has {len(classes)} classes; at least two are needed")
    images = {part: _images(rows, part, classes) for part in dict.fromkeys(_PARTS.values()) if _holds(rows, part)}
    for part, found in images.items():
        _check_classes(path, part, classes, found)
    added = split_off(images, classes)
    return Found(classes, images["train"], images["validation"], images["test"], f"photos listed in {shown(path)}{added}")


def _rows(path: Path) -> Iterator[_Row]:
    """The rows of the file; paths in it are relative to its folder."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = _check_columns(path, reader.fieldnames or [])
            for row in reader:
                yield _row(path, reader.line_num, {name: (row[name] or "").strip() for name in columns})
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{shown(path)} is not a CSV file in UTF-8: {error}") from None


def _check_columns(path: Path, names: Sequence[str]) -> list[str]:
    """The columns to read; raises InputError unless path and label are among them."""
    for name in ("path", "label"):
        if name not in names:
            listed = ", ".join(map(shown, names[:8])) or "nothing"
            raise InputError(f"{shown(path)} has no column {name}{near_miss(name, names)}; its first line has {listed}")
    return [name for name in ("path", "label", "part") if name in names]


def _row(path: Path, line: int, row: Mapping[str, str]) -> _Row:
    for name in ("path", "label"):
        if not row[name]:
            raise InputError(f"{shown(path)}, line {line}: the {name} is empty")
    part = row.get("part", "train").lower()
    if part not in _PARTS:
        raise InputError(f"{shown(path)}, line {line}: part must be train, val or test, not {quoted(part)}")
    if shown(row["label"]) != row["label"]:
        raise InputError(f"{shown(path)}, line {line}: the label {shown(row['label'])} has unprintable characters")
    return _Row(line, path.parent / row["path"], row["label"], _PARTS[part])


def _check_files(path: Path, rows: list[_Row]) -> None:
    """Raises InputError for files that are missing or listed twice, and for a file without rows."""
    if not rows:
        raise InputError(f"{shown(path)} lists no images")
    first: dict[Path, int] = {}
    for row in rows:
        if row.file in first:
            raise InputError(f"{shown(path)}, line {row.line}: {shown(row.file)} is listed in line {first[row.file]} too")
        first[row.file] = row.line
    if missing := [row for row in rows if not row.file.is_file()]:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise InputError(f"{shown(path)}, line {missing[0].line}: there is no file {shown(missing[0].file)}{more}")


def _holds(rows: list[_Row], part: str) -> bool:
    return any(row.part == part for row in rows)


def _images(rows: list[_Row], part: str, classes: tuple[str, ...]) -> Images:
    import numpy as np

    numbers = {name: label for label, name in enumerate(classes)}
    mine = [row for row in rows if row.part == part]
    return Images([row.file for row in mine], np.array([numbers[row.label] for row in mine], np.int64))


def _check_classes(path: Path, part: str, classes: tuple[str, ...], found: Images) -> None:
    if absent := [name for label, name in enumerate(classes) if label not in found.labels]:
        raise InputError(f"the {part} images in {shown(path)} have none of the class {absent[0]}; add some to each part")
