"""Stages of a search, one file each, `NAME.py`: `run(state)` runs the stage, `AFTER` names the one before it.

A stage reads records from the journal and writes records; work in the journal is not repeated. `MENDS` marks stages that also
run in a finished run, if weights were lost.
"""

from graphlib import TopologicalSorter
from types import ModuleType

from search_spaces.plugins import Modules


def stages() -> list[ModuleType]:
    """All stages in order."""
    known = Modules("stages", __name__, "stage of the search")
    found = {name: known.load(name) for name in known.names()}
    before = {name: {module.AFTER} - {""} for name, module in found.items()}
    return [found[name] for name in TopologicalSorter(before).static_order()]
