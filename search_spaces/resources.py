"""Reads text files and strict YAML, and expands paths.

A YAML file is one mapping of JSON types: strings, numbers, true, false, null, lists, and mappings with string keys; anchors,
aliases and merges are allowed. Duplicate keys, tags and oversized files are errors.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from search_spaces.errors import InputError, quoted

LARGEST = 2**20  # characters of a text file
_MOST_VALUES = 100_000  # per file; aliases count with their content
_DEEPEST = 20
_MOST_DIGITS = 40
_YAML = "tag:yaml.org,2002:"
_KINDS = tuple(_YAML + kind for kind in ("null", "bool", "int", "float", "str", "merge", "seq", "map"))
_Pair = tuple[yaml.ScalarNode, yaml.Node]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader (the C version, ten times as fast, if available) for JSON types only; dates stay strings."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in the base class)
        first: [(tag, pattern) for tag, pattern in known if tag in _KINDS]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _number(construct: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[[_Loader, yaml.ScalarNode], Any]:
    """A number constructor that rejects excessively long numbers."""

    def limited(loader: _Loader, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _MOST_DIGITS:
            raise _problem(node, f"a number of {len(node.value)} digits")
        try:
            return construct(loader, node)
        except ValueError:
            raise _problem(node, f'"{node.value}" is not a number') from None

    return limited


_Loader.add_constructor(f"{_YAML}int", _number(yaml.SafeLoader.construct_yaml_int))
_Loader.add_constructor(f"{_YAML}float", _number(yaml.SafeLoader.construct_yaml_float))


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping in `text`; raises InputError with `source`, line and column for invalid or unsupported YAML."""
    if len(text) > LARGEST:
        raise InputError(f"{source}: larger than {LARGEST} characters")
    try:
        data = _load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{source}{where}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{source}: expected a mapping of keys to values, found {type(data).__name__}")
    return data


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        if (root := loader.get_single_node()) is None:
            return None
        _Limits().check(root, 0)
        return loader.construct_document(root)
    finally:
        loader.dispose()


class _Limits:
    """Validates nodes before construction; converts keys to strings and applies merges."""

    def __init__(self) -> None:
        self._values = 0

    def check(self, node: yaml.Node, depth: int) -> None:
        """Raises yaml.MarkedYAMLError for an unsupported node."""
        self._values += 1
        if self._values > _MOST_VALUES:
            raise _problem(node, f"more than {_MOST_VALUES} values")
        if depth > _DEEPEST:
            raise _problem(node, f"nested more than {_DEEPEST} deep")
        if node.tag not in _KINDS:
            raise _problem(node, f"the tag {quoted(node.tag)} is not supported")
        if isinstance(node, yaml.MappingNode):
            _check_keys([key for key, _ in node.value])
        for inner in _inner(node):
            self.check(inner, depth + 1)
        if isinstance(node, yaml.MappingNode):
            node.value = list(_merged(node).values())


def _problem(node: yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_keys(keys: list[yaml.Node]) -> None:
    seen: set[str] = set()
    for key in keys:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem(key, "a key must be text")
        if key.value in seen:
            raise _problem(key, f"key {quoted(key.value)} is given twice")
        seen.add(key.value)


def _merged(node: yaml.MappingNode) -> dict[str, _Pair]:
    """The entries of a mapping by key, as strings; its own override merged ones (`<<`), and earlier merges override later."""
    own: dict[str, _Pair] = {}
    merged: dict[str, _Pair] = {}
    for key, value in node.value:
        if key.tag != f"{_YAML}merge":
            own[key.value] = yaml.ScalarNode(f"{_YAML}str", key.value, key.start_mark, key.end_mark), value
            continue
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise _problem(source, "<< takes a mapping or a list of mappings")
            merged = {inner.value: (inner, of) for inner, of in source.value} | merged
    return merged | own


def expanded(path: str) -> Path:
    """Expands `~` and `~name` in a path; raises InputError when there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        home = f"{path.partition('/')[0]} has no known home folder"
        raise InputError(f"there is no {quoted(path)}: {home}") from None


def read_text(path: Path, what: str) -> str:
    """The text of a file, called `what` in messages; raises InputError when it cannot be read, or is not UTF-8."""
    try:
        if not path.is_file():
            raise InputError(f"there is no {what} {path}")
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from None
    if len(text) > LARGEST:
        raise InputError(f"{path}: larger than {LARGEST} characters")
    return text
