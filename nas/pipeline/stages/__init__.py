"""The stages of a search, one file each, `NAME.py`: `run(state)` takes the stage, `AFTER` names the one before it.

A stage reads records of the journal and writes records; what is in the journal is not done again. `MENDS` marks one that a
finished run takes, too, where weights were lost.
"""

import importlib
import pkgutil
from graphlib import TopologicalSorter
from types import ModuleType


def stages() -> list[ModuleType]:
    """Every stage, each after the one that it names."""
    found = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    before = {name: {module.AFTER} - {""} for name, module in sorted(found.items())}
    return [found[name] for name in TopologicalSorter(before).static_order()]
