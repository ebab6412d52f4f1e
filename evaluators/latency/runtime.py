"""Runtime: what a file in `runtimes/` must have; looking one up by name."""

import importlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from search_spaces.errors import InputError, near_miss

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.task import Task

DEFAULT = "onnxruntime_cpu"


class Runtime(Protocol):
    """A module in `runtimes/`. Its runs are synchronous and use one thread, so that thread CPU time can be trusted."""

    THREADS: int
    DTYPE: str
    SUFFIX: str

    def version(self) -> str: ...

    def prepare(self, network: "nn.Module", task: "Task", path: Path) -> None: ...

    def load(self, path: Path) -> Callable[[], object]: ...


def runtime_names() -> list[str]:
    """Names of the runtimes, sorted."""
    found = files("evaluators.latency.runtimes").iterdir()
    return sorted(f.name.removesuffix(".py") for f in found if f.name.endswith(".py") and f.name != "__init__.py")


def load_runtime(name: str) -> Runtime:
    """The runtime called `name`; raises InputError with the near miss."""
    if name not in runtime_names():
        raise InputError(f'there is no latency runtime "{name}"{near_miss(name, runtime_names())}')
    return cast(Runtime, importlib.import_module(f"evaluators.latency.runtimes.{name}"))
