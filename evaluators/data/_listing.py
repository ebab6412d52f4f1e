"""Lists the images of a class, and counts what is skipped: other files, links to elsewhere, hidden files."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluators.data._open import extensions
from evaluators.data._unreadable import shown

HIDDEN, LINK, SPECIAL, NAMELESS = "hidden", "symbolic links", "special files", "without extension"
BESIDE = "beside the folders"
_SERVICE = {"#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found", "thumbs.db", "desktop.ini"}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or belongs to an operating system or storage device."""
    return name.startswith((".", "@", "__MACOSX", "__pycache__")) or name.casefold() in _SERVICE


def folders(path: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """The folders in `path` by name, including links to folders elsewhere; `left_out` counts other entries by kind."""
    found: list[Path] = []
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        kind = _kind_beside(entry)
        if kind is None:
            found.append(entry)
        elif left_out is not None:
            left_out[kind] += 1
    return found


def images(class_folders: Iterable[Path], left_out: Counter[str]) -> list[Path]:
    """The images below the folders, by folder and name; `left_out` counts all other entries by kind.

    Images are regular files with a supported extension, and links to such files within the same folder. Links that leave the
    folder, or point to a listed file, are skipped, as they would duplicate images.
    """
    found: list[tuple[str, str]] = []
    for top in class_folders:
        files, links = _sorted_out(top, left_out)
        own = {os.path.realpath(os.path.join(*file)) for file in files} if links else set()
        for link in links:
            target = os.path.realpath(os.path.join(*link))
            inside = os.path.isfile(target) and Path(target).is_relative_to(os.path.realpath(top))
            if inside and target not in own:
                own.add(target)
                files.append(link)
            else:
                left_out[LINK] += 1
        found += files
    return [Path(folder, name) for folder, name in sorted(found)]


def holds_images(folder: Path) -> bool:
    return any(_kind(entry) is None for entry in _below(os.fspath(folder), Counter()))


def _sorted_out(top: Path, left_out: Counter[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(folder, name) of the images below a folder, and of links named like images."""
    files, links = [], []
    for entry in _below(os.fspath(top), left_out):
        place = os.path.dirname(entry.path), entry.name
        kind = _kind(entry)
        if kind is None:
            files.append(place)
        elif kind == LINK and _extension(entry.name) in extensions():
            links.append(place)
        else:
            left_out[kind] += 1
    return files, links


def _below(folder: str, left_out: Counter[str]) -> Iterator[os.DirEntry[str]]:
    """All non-folder entries below a folder; does not follow links, counts hidden entries."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_hidden(entry.name):
                left_out[HIDDEN] += 1
            elif entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, left_out)
            else:
                yield entry


def _kind(entry: os.DirEntry[str]) -> str | None:
    """The kind under which a file is skipped; None for an image."""
    if entry.is_symlink():
        return LINK
    if not entry.is_file(follow_symlinks=False):
        return SPECIAL
    extension = _extension(entry.name)
    return None if extension in extensions() else shown(extension) or NAMELESS


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _kind_beside(entry: Path) -> str | None:
    """The kind under which an entry is skipped; None for a folder, or a link to a folder elsewhere."""
    if is_hidden(entry.name):
        return HIDDEN
    if not entry.is_dir():
        return BESIDE
    if not entry.is_symlink():
        return None
    target, here = Path(os.path.realpath(entry)), Path(os.path.realpath(entry.parent))
    return LINK if target.is_relative_to(here) or here.is_relative_to(target) else None
