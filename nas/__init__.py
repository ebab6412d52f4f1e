"""Hardware-aware neural architecture search for compact CNNs: the most accurate network within a measured latency budget.

    import nas

    run = nas.search(nas.SearchConfig(latency_budget_ms=20, data="imagefolder:photos"))
    print(run.best.genotype.text, run.best.latency.p50_ms, run.best.test_accuracy)

Names in `__all__` are public. They are imported lazily, so that the command line starts quickly.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import (
        Latency,
        Run,
        TrainedNetwork,
        anchor,
        build,
        cost,
        load_device,
        load_space,
        measure,
        open_run,
        predict,
        resume,
        search,
        train,
    )
    from nas.progress import ConsoleProgress, Progress
    from nas.run.config import SearchConfig
    from nas.sessions.measure import MeasureConfig
    from nas.training.config import TrainConfig
    from search_spaces.errors import InputError
    from search_spaces.genotype import Genotype

_WHERE = {
    "ConsoleProgress": "nas.progress",
    "Genotype": "search_spaces.genotype",
    "InputError": "search_spaces.errors",
    "MeasureConfig": "nas.sessions.measure",
    "Progress": "nas.progress",
    "SearchConfig": "nas.run.config",
    "TrainConfig": "nas.training.config",
}

__all__ = [
    "ConsoleProgress",
    "Genotype",
    "InputError",
    "Latency",
    "MeasureConfig",
    "Progress",
    "Run",
    "SearchConfig",
    "TrainConfig",
    "TrainedNetwork",
    "anchor",
    "build",
    "cost",
    "load_device",
    "load_space",
    "measure",
    "open_run",
    "predict",
    "resume",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE.get(name, "nas.api")), name)


def __dir__() -> list[str]:
    return __all__
