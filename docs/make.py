"""Writes docs/options.md, the reference of all options, from the configurations.

usage: python docs/make.py
"""

from pathlib import Path

import nas
from nas.run.options import reference

CONFIGURATIONS = {"nas search": nas.SearchConfig, "nas train": nas.TrainConfig, "nas device measure": nas.MeasureConfig}


def options() -> str:
    """The text of docs/options.md."""
    parts = ["# Options\n\nFlags of the command line, and fields of the library's configurations.\n"]
    parts += [f"\n## `{name}`: `nas.{kind.__name__}`\n\n{reference(kind)}" for name, kind in CONFIGURATIONS.items()]
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("options.md").write_text(options(), encoding="utf-8")
