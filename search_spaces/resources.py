"""Names for data: the YAML files of a folder by their stems, read strictly (no duplicate keys, safe types only)."""

from collections.abc import Hashable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from search_spaces.errors import InputError, near_miss


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader (its C form, ten times as fast, where there is one); a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f'key "{key}" is given twice', problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping in `text`; raises InputError with `source`, line and column when it is not well-formed YAML."""
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{source}{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{source}: expected a mapping of keys to values, found {type(data).__name__}")
    return data


def names(package: str) -> list[str]:
    """Stems of the YAML files in a package folder, sorted."""
    return sorted(Path(f.name).stem for f in files(package).iterdir() if f.name.endswith(".yaml"))


def read(package: str, what: str, name_or_path: str) -> tuple[str, dict[str, Any]]:
    """(source, mapping) of the YAML file called NAME in a package folder, or at a path that ends in .yaml.

    `what` is the word for such a file in messages ("search space"). Raises InputError when there is none.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        path: Path | Traversable = Path(name_or_path)
        if not path.is_file():
            raise InputError(f"there is no {what} file {name_or_path}")
    else:
        path = files(package) / f"{name_or_path}.yaml"
        if not path.is_file():
            raise InputError(f'there is no {what} "{name_or_path}"{near_miss(name_or_path, names(package))}')
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: not a text file in UTF-8") from None
    return path.name, parse_yaml(text, path.name)
