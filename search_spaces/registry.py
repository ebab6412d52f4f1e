"""Registry of block kinds and their knobs, read from source code without importing torch."""

import ast
import importlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec, resolve_name
from types import MappingProxyType
from typing import Any, TypeVar

from search_spaces.errors import InputError, near_miss, quoted, shortened
from search_spaces.plugins import Plugins, modules_of

Value = int | float | bool | str
_CLASSES: dict[str, type] = {}
_TYPES = {"int": int, "float": float, "bool": bool, "str": str}
_NUMBER = {int: re.compile("-?[0-9]{1,9}"), float: re.compile(r"-?[0-9]{0,20}\.?[0-9]{1,20}(e[-+]?[0-9]{1,3})?")}
_POSITIONAL = ("branches", "c_in", "c_out", "stride", "classes")
_STRIDES = (1, 2)
_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True)
class Knob:
    """An argument of a block kind: type, default, and allowed values, if restricted."""

    name: str
    type: type
    default: Value
    choices: tuple[Value, ...] = ()

    def parse(self, text: str) -> Value:
        """Parses a value; raises InputError saying what is allowed."""
        return self.check(self._convert(text))

    def check(self, value: object) -> Value:
        """`value` as this knob's type (an int may stand for a float); raises InputError for another type or choice."""
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f'{self.name} takes {self._expected()}, not "{shortened(show(value))}"')
        if self.choices and value not in self.choices:
            near = near_miss(str(value), map(str, self.choices)) if self.type is str else ""
            raise InputError(f"{self.name} takes {self._expected()}, not {shortened(show(value))}{near}")
        return value  # type: ignore[return-value]

    def _convert(self, text: str) -> Value:
        if self.type is bool:
            return {"yes": True, "no": False}.get(text, text)
        if self.type is not str and not _NUMBER[self.type].fullmatch(text):
            raise InputError(f'{self.name} takes {self._expected()}, not "{shortened(text)}"')
        return self.type(text)  # type: ignore[no-any-return]

    def _expected(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(show, self.choices))
        return {int: "a whole number", float: "a number", bool: "yes or no", str: "a word"}[self.type]


@dataclass(frozen=True)
class BlockKind:
    """A block kind: the module of its class, which of _POSITIONAL it takes, its strides, its knobs in order.

    A kind that takes `branches` has parallel sequences of blocks; its output width is that of each branch, or their sum if it
    `concatenates`.
    """

    name: str
    module: str
    summary: str
    takes: tuple[str, ...]
    strides: tuple[int, ...]
    knobs: MappingProxyType[str, Knob]
    concatenates: bool

    @property
    def has_width(self) -> bool:
        return "c_out" in self.takes

    @property
    def has_stride(self) -> bool:
        return "stride" in self.takes

    @property
    def has_branches(self) -> bool:
        return "branches" in self.takes

    def check_stride(self, stride: int) -> None:
        """Raises InputError for an unsupported stride."""
        if stride not in self.strides:
            raise InputError(f"the stride of block {self.name} must be {' or '.join(map(str, self.strides))}, not {stride}")

    def knob(self, name: str) -> Knob:
        if name not in self.knobs:
            raise InputError(f"block {self.name} has no knob {quoted(name)}{near_miss(name, self.knobs)}")
        return self.knobs[name]

    def load(self) -> Callable[..., Any]:
        """The block's class (imports torch)."""
        importlib.import_module(self.module)
        return _CLASSES[self.name]


def block(kind: str) -> Callable[[_Class], _Class]:
    """Class decorator: registers an nn.Module as the block kind `kind`.

    Its __init__ takes any of branches, c_in, c_out, stride, classes, then keyword-only knobs with type annotations and
    defaults. Strides are 1 and 2 unless `stride` is annotated with others.
    """

    def register(cls: _Class) -> _Class:
        _CLASSES[kind] = cls
        return cls

    return register


def show(value: object) -> str:
    """A knob's value in genotype text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def block_kinds() -> Mapping[str, BlockKind]:
    """Every block kind by name, sorted."""
    return _BLOCKS.all()


def block_kind(name: str) -> BlockKind:
    """The block kind called `name`; raises InputError that suggests the closest name."""
    return _BLOCKS.find(name)


class _Blocks(Plugins[BlockKind]):
    """Block kinds; another package's entry point names a module with classes decorated by `@block`."""

    def _own(self) -> Iterator[tuple[str, BlockKind]]:
        for module in modules_of(self.package):
            yield from _kinds_in(module)

    def _added(self, entry: EntryPoint) -> Iterator[tuple[str, BlockKind]]:
        if not (found := list(_kinds_in(entry.module))):
            raise InputError("it has no class decorated with @block")
        yield from found


_BLOCKS = _Blocks("blocks", "search_spaces.blocks", "block")


@cache
def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    source = getattr(spec and spec.loader, "get_source", lambda _: None)(module)
    if source is None:
        raise InputError(f"the module {module} has no source code")
    return ast.parse(source)


def _kinds_in(module: str) -> Iterator[tuple[str, BlockKind]]:
    for node in _tree(module).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "block":
                name = ast.literal_eval(decorator.args[0])
                yield name, _kind(module, node, name)


def _kind(module: str, node: ast.ClassDef, name: str) -> BlockKind:
    init = next(f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
    takes = tuple(a.arg for a in init.args.args[1:])
    assert set(takes) <= set(_POSITIONAL), f"{name}: positional arguments must be among {_POSITIONAL}"
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    knobs = {argument.arg: _knob(module, argument, default) for argument, default in pairs}
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    concatenates = any(isinstance(line, ast.Assign) and ast.unparse(line) == "concatenates = True" for line in node.body)
    return BlockKind(name, module, summary, takes, _strides(module, init), MappingProxyType(knobs), concatenates)


def _strides(module: str, init: ast.FunctionDef) -> tuple[int, ...]:
    annotation = next((a.annotation for a in init.args.args if a.arg == "stride"), None)
    if annotation is None:
        return (1,)
    return _choices(module, annotation) or _STRIDES  # type: ignore[return-value]


def _knob(module: str, argument: ast.arg, default: ast.expr | None) -> Knob:
    assert default is not None and argument.annotation is not None, f"knob {argument.arg} needs a type and a default"
    choices = _choices(module, argument.annotation)
    kind = type(choices[0]) if choices else _TYPES[ast.unparse(argument.annotation)]
    value = ast.literal_eval(default)
    return Knob(argument.arg, kind, kind(value), choices)


def _choices(module: str, annotation: ast.expr) -> tuple[Value, ...]:
    """The values of a `Literal[...]` annotation, inline or as an alias, which may be imported."""
    if isinstance(annotation, ast.Subscript):
        values = ast.literal_eval(annotation.slice)
        return values if isinstance(values, tuple) else (values,)
    assert isinstance(annotation, ast.Name)
    if annotation.id in _TYPES:
        return ()
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == annotation.id for alias in node.names):
            source = resolve_name("." * node.level + (node.module or ""), module.rpartition(".")[0])
            return _choices(source, annotation)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == annotation.id:
            return _choices(module, node.value)
    raise AssertionError(f"{module}: cannot read the type {annotation.id}")
