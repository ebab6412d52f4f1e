"""Plug-ins: looks up items by name in a folder of this project, and in other installed packages.

A package adds an item of a kind by an entry point in the group `compact_nas.KIND`, for example in pyproject.toml:

    [project.entry-points."compact_nas.samplers"]
    mine = "my_package.my_sampler"

The entry point names a module. For spaces, anchors and recipes, it names a package whose YAML files are added.
"""

import ast
import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Generic, NamedTuple, TypeVar

from search_spaces.errors import InputError, near_miss, quoted, shortened

OURS = "compact-nas"  # the provider of this project's folders
T = TypeVar("T")


class _Found(NamedTuple, Generic[T]):
    """An item and the package that provides it."""

    thing: T
    provider: str


class Plugins(ABC, Generic[T]):
    """The items of one kind by name: those in the folder of `package`, and those that other packages add.

    `what` is the word for an item in messages. Unknown names, and names that two packages provide, raise InputError.
    """

    def __init__(self, kind: str, package: str, what: str) -> None:
        self.kind, self.package, self.what = kind, package, what

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._found)

    def own(self) -> list[str]:
        """Names in this project's folder, sorted."""
        return [name for name in self.names() if self._found[name].provider == OURS]

    def all(self) -> Mapping[str, T]:
        """Every item by name, sorted."""
        return {name: self._found[name].thing for name in self.names()}

    def find(self, name: str) -> T:
        """The item called `name`; raises InputError that suggests the closest name."""
        if name not in self._found:
            raise InputError(f"there is no {self.what} {quoted(name)}{near_miss(name, self._found)}")
        return self._found[name].thing

    def check(self, name: str) -> None:
        """Raises InputError that suggests the closest name, unless `name` exists."""
        self.find(name)

    @abstractmethod
    def _own(self) -> Iterable[tuple[str, T]]:
        """The items in the folder."""

    @abstractmethod
    def _added(self, entry: EntryPoint) -> Iterable[tuple[str, T]]:
        """The items that another package's entry point adds."""

    @cached_property
    def _found(self) -> dict[str, _Found[T]]:
        found: dict[str, _Found[T]] = {}
        for name, thing, provider in self._provided():
            if name in found:
                both = f"{found[name].provider} and {provider}"
                raise InputError(f"two packages provide the {self.what} {quoted(name)}: {both}; uninstall one of them")
            found[name] = _Found(thing, provider)
        return found

    def _provided(self) -> Iterator[tuple[str, T, str]]:
        for name, thing in self._own():
            yield name, thing, OURS
        for entry in _entry_points(f"compact_nas.{self.kind}"):
            provider = entry.dist.name if entry.dist else "a package"
            try:
                added = list(self._added(entry))
            except Exception as error:
                raise _unusable(f"what the package {provider} adds to {self.kind}", entry.value, error) from error
            for name, thing in added:
                yield name, thing, provider


class Modules(Plugins[str]):
    """Plug-ins that are modules, imported on demand.

    In the folder, the name is the file's, with hyphens instead of underscores if `hyphens`; files with a leading underscore are
    helpers. In other packages, it is the entry point's.
    """

    def __init__(self, kind: str, package: str, what: str, *, hyphens: bool = False) -> None:
        super().__init__(kind, package, what)
        self._hyphens = hyphens

    def load(self, name: str) -> ModuleType:
        """Imports the module called `name`; raises InputError if there is none, or if another package's fails to import."""
        module = self.find(name)
        try:
            return importlib.import_module(module)
        except Exception as error:
            provider = self._found[name].provider
            if provider == OURS:
                raise
            raise _unusable(f"the {self.what} {quoted(name)} of the package {provider}", module, error) from error

    def summaries(self) -> dict[str, str]:
        """The first line of each module's docstring by name, read from source without importing."""
        return {name: _summary(module) for name, module in self.all().items()}

    def _own(self) -> Iterable[tuple[str, str]]:
        for module in modules_of(self.package):
            stem = module.rpartition(".")[2]
            yield stem.replace("_", "-") if self._hyphens else stem, module

    def _added(self, entry: EntryPoint) -> Iterable[tuple[str, str]]:
        yield entry.name, entry.module


def modules_of(package: str) -> list[str]:
    """The modules in a package's folder, except those with a leading underscore; imports only the package."""
    stems = (file.name.removesuffix(".py") for file in files(package).iterdir() if file.name.endswith(".py"))
    return sorted(f"{package}.{stem}" for stem in stems if not stem.startswith("_"))


def _summary(module: str) -> str:
    found = importlib.util.find_spec(module)
    if found is None or not found.has_location or not found.origin:
        return ""
    text = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


@cache
def _entry_points(group: str) -> EntryPoints:
    return entry_points(group=group)


def _unusable(what: str, module: str, error: Exception) -> InputError:
    reason = shortened(f"{error}" if isinstance(error, InputError) else f"{type(error).__name__}: {error}".partition("\n")[0])
    return InputError(f"{what} cannot be used: {module}: {reason}")
