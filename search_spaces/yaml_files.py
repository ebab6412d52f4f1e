"""YamlFiles: YAML files of a folder by stem, or by path."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from search_spaces.plugins import Plugins
from search_spaces.resources import parse_yaml, read_text


class YamlFiles(Plugins[Traversable]):
    """Plug-ins that are YAML files; another package's entry point names a package with YAML files."""

    def read(self, name_or_path: str) -> tuple[str, dict[str, Any]]:
        """(source, mapping) of the file called NAME, or at a path ending in .yaml; raises InputError if there is none."""
        source = Path(name_or_path).name if _is_path(name_or_path) else f"{name_or_path}.yaml"
        return source, parse_yaml(self.text(name_or_path), source)

    def text(self, name_or_path: str) -> str:
        """The text of that file; raises InputError if there is none."""
        if _is_path(name_or_path):
            return read_text(Path(name_or_path), f"{self.what} file")
        return self.find(name_or_path).read_text(encoding="utf-8")

    def _own(self) -> Iterable[tuple[str, Traversable]]:
        return _files_of(self.package)

    def _added(self, entry: EntryPoint) -> Iterable[tuple[str, Traversable]]:
        return _files_of(entry.module)


def _is_path(name_or_path: str) -> bool:
    return name_or_path.endswith((".yaml", ".yml"))


def _files_of(package: str) -> Iterable[tuple[str, Traversable]]:
    for file in files(package).iterdir():
        if file.name.endswith(".yaml"):
            yield file.name.removesuffix(".yaml"), file
