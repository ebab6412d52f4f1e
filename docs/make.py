"""Writes the references docs/options.md, docs/commands.md and docs/api.md, from the configurations, click and docstrings.

usage: python docs/make.py
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click

import nas
import nas.testing
from nas.commands.main import cli
from nas.run.options import described, reference

CONFIGURATIONS = {"nas search": nas.SearchConfig, "nas train": nas.TrainConfig, "nas device measure": nas.MeasureConfig}
ENDS = """
Exit codes: 0; 1 when `nas device check` finds a profile out of date; 2 for what the user can put right, with one message on
standard error; 130 after Ctrl-C, 143 after SIGTERM. Sizes, times and latencies have a unit: `500KB`, `15m`, `20ms`.
"""
SILENCE = """
Importing `nas` loads neither torch nor Ray. Nothing is printed unless a `Progress` is passed in, such as `nas.ConsoleProgress`.
Bad input raises `nas.InputError`. [A script](../examples/quickstart.py) and [a notebook](../examples/explore_a_run.ipynb) are
complete examples.
"""


def options() -> str:
    """The text of docs/options.md."""
    parts = ["# Options\n\nFlags of the command line, and fields of the library's configurations.\n"]
    parts += [f"\n## `{name}`: `nas.{kind.__name__}`\n\n{reference(kind)}" for name, kind in CONFIGURATIONS.items()]
    return "".join(parts)


def commands() -> str:
    """The text of docs/commands.md."""
    found = list(_commands(click.Context(cli, info_name="nas")))
    index = [
        f"| [`{context.command_path}`](#{context.command_path.replace(' ', '-')}) | {_summary(context)} |\n"
        for context in found
    ]
    return "".join(["# Commands\n\n| command | |\n|---|---|\n", *index, ENDS, *map(_command, found)])


def _commands(context: click.Context) -> Iterator[click.Context]:
    """The contexts of all commands below a group, in its order."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        yield from _commands(inner) if isinstance(command, click.Group) else [inner]


def _command(context: click.Context) -> str:
    usage = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in context.command.params]
    rows = [f"| `{_cell(option)}` | {_cell(text)} |\n" for option, text in filter(None, records) if text]
    table = ["\n| option | |\n|---|---|\n", *rows] if rows else []
    text = inspect.cleandoc(context.command.help or "")
    return "".join([f"\n## {context.command_path}\n\n    {usage}\n\n{text}\n", *table])


def _summary(context: click.Context) -> str:
    return _cell(context.command.get_short_help_str(limit=200))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def api() -> str:
    """The text of docs/api.md."""
    suites = f"\n## nas.testing\n\n{inspect.getdoc(nas.testing)}\n"
    return "".join([f"# Python\n\n{inspect.getdoc(nas)}\n{SILENCE}", *_public(nas), suites, *_public(nas.testing)])


def _public(module: ModuleType) -> Iterator[str]:
    """The sections of a module's public names, classes first."""
    for name in sorted(module.__all__, key=lambda name: (name[0].islower(), name)):
        what = getattr(module, name)
        section = f"\n## {module.__name__}.{name}\n\n"
        section += "" if isinstance(what, type) else f"    {name}{_signature(what)}\n\n"
        yield section + f"{inspect.getdoc(what)}\n" + (_members(what) if isinstance(what, type) else "")


def _members(kind: type) -> str:
    """The fields, properties and methods of a class; the fields of a configuration are described in docs/options.md."""
    if kind in CONFIGURATIONS.values():
        return f"\nFields: {', '.join(f'`{one.name}`' for one in described(kind))}; [options](options.md) describes them.\n"
    found = [f"- `{one.name}: {_types(one.type)}`\n" for one in fields(kind)] if is_dataclass(kind) else []
    found += [_member(name, what) for name, what in vars(kind).items() if not name.startswith("_") and _is_member(what)]
    return "\n" + "".join(found) if found else ""


def _is_member(what: object) -> bool:
    return inspect.isfunction(what) or isinstance(what, property | cached_property | classmethod | staticmethod)


def _member(name: str, what: Any) -> str:
    function = what.fget if isinstance(what, property) else getattr(what, "func", getattr(what, "__func__", what))
    signature = re.sub(r"\((self|cls)(, )?", "(", _signature(function))
    called = signature.replace("() -> ", ": ") if isinstance(what, property | cached_property) else signature
    text = " ".join((inspect.getdoc(function) or "").split())
    return f"- `{name}{called}`" + (f": {text}" if text else "") + "\n"


def _signature(function: Any) -> str:
    return _types(str(inspect.signature(function)))


def _types(annotations: object) -> str:
    """Annotations with the names of types alone, without modules and quotes."""
    text = annotations.__name__ if isinstance(annotations, type) and not get_args(annotations) else str(annotations)
    return re.sub(r"'([A-Z]\w*)'", r"\1", re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", text))


REFERENCES = {"options.md": options, "commands.md": commands, "api.md": api}

if __name__ == "__main__":
    for name, text in REFERENCES.items():
        Path(__file__).with_name(name).write_text(text(), encoding="utf-8")
