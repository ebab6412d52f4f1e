"""The stages of a search, one file each, `NAME.py`: `run(state)` takes the stage, `AFTER` names the one before it.

A stage reads records of the journal and writes records; what is in the journal is not done again. `MENDS` marks one that a
finished run takes, too, where weights were lost.
"""

from graphlib import TopologicalSorter
from types import ModuleType

from search_spaces.plugins import Modules


def stages() -> list[ModuleType]:
    """Every stage, each after the one that it names."""
    known = Modules("stages", __name__, "stage of the search")
    found = {name: known.load(name) for name in known.names()}
    before = {name: {module.AFTER} - {""} for name, module in found.items()}
    return [found[name] for name in TopologicalSorter(before).static_order()]
