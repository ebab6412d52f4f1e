"""Names for code: the kinds of block and their knobs, read from the sources in `blocks/` without importing torch."""

import ast
import importlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, TypeVar

from search_spaces.errors import InputError, near_miss, quoted, shortened

Value = int | float | bool | str
_CLASSES: dict[str, type] = {}
_TYPES = {"int": int, "float": float, "bool": bool, "str": str}
_NUMBER = {int: re.compile("-?[0-9]{1,9}"), float: re.compile(r"-?[0-9]{0,20}\.?[0-9]{1,20}(e[-+]?[0-9]{1,3})?")}
_POSITIONAL = ("branches", "c_in", "c_out", "stride", "classes")
_STRIDES = (1, 2)
_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True)
class Knob:
    """An argument that one kind of block has: its type, its default, and its allowed values if they are listed."""

    name: str
    type: type
    default: Value
    choices: tuple[Value, ...] = ()

    def parse(self, text: str) -> Value:
        """The value written as `text`; raises InputError that says what would be right."""
        return self.check(self._convert(text))

    def check(self, value: object) -> Value:
        """`value` as this knob's type (an int serves as a float); raises InputError when it is another type or choice."""
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
    """A kind of block: where its class is, which of _POSITIONAL it takes, its strides, its knobs in order.

    A kind that takes `branches` holds rows of blocks side by side; its output is as wide as each of them, or as all of
    them together if it `concatenates`.
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
        """Raises InputError for a stride that the block cannot have."""
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
    """Class decorator: makes an nn.Module in `blocks/` the kind of block called `kind`.

    Its __init__ takes some of branches, c_in, c_out, stride, classes, then keyword-only knobs with annotated type and
    default. Strides are 1 and 2 unless `stride` is annotated with others.
    """

    def register(cls: _Class) -> _Class:
        _CLASSES[kind] = cls
        return cls

    return register


def show(value: object) -> str:
    """A knob's value as it is written in genotype text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


@cache
def block_kinds() -> MappingProxyType[str, BlockKind]:
    """Every kind of block by name, sorted."""
    kinds = [kind for module in _sources() for kind in _kinds_in(module)]
    found = {kind.name: kind for kind in kinds}
    assert len(found) == len(kinds), "two files of blocks/ register the same kind"
    return MappingProxyType(dict(sorted(found.items())))


def block_kind(name: str) -> BlockKind:
    kinds = block_kinds()
    if name not in kinds:
        raise InputError(f"there is no block {quoted(name)}{near_miss(name, kinds)}")
    return kinds[name]


def _sources() -> Iterator[str]:
    for file in files("search_spaces.blocks").iterdir():
        if file.name.endswith(".py") and file.name != "__init__.py":
            yield f"search_spaces.blocks.{file.name.removesuffix('.py')}"


@cache
def _tree(module: str) -> ast.Module:
    package, _, name = module.rpartition(".")
    return ast.parse((files(package) / f"{name}.py").read_text(encoding="utf-8"))


def _kinds_in(module: str) -> Iterator[BlockKind]:
    for node in _tree(module).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "block":
                yield _kind(module, node, ast.literal_eval(decorator.args[0]))


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
    """The values of `Literal[...]`, written in place or as an alias imported from another of our modules."""
    if isinstance(annotation, ast.Subscript):
        values = ast.literal_eval(annotation.slice)
        return values if isinstance(values, tuple) else (values,)
    assert isinstance(annotation, ast.Name)
    if annotation.id in _TYPES:
        return ()
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == annotation.id for alias in node.names):
            return _choices(str(node.module), annotation)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == annotation.id:
            return _choices(module, node.value)
    raise AssertionError(f"{module}: cannot read the type {annotation.id}")
