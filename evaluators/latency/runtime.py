"""Runtime: what a file in `runtimes/` must have; looking one up by name."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from search_spaces.errors import InputError
from search_spaces.plugins import Modules

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.task import Task

DEFAULT = "onnxruntime_cpu"
_RUNTIMES = Modules("runtimes", "evaluators.latency.runtimes", "latency runtime")


Clock = Literal["cpu", "wall", "event"]
Graph = Literal["fused", "eager"]


class Runtime(Protocol):
    """A module in `runtimes/`: how a network is prepared, loaded with a number of threads, and run once.

    CLOCK: the honest clock with one thread. "cpu": runs are synchronous and stay in the calling thread; "wall": they do
    not; "event": they return their seconds by the device's own clock.

    GRAPH: which lowering gives the kernels that it runs (evaluators.latency.kernels). "eager": torch's operations one by one;
    "fused": ONNX Runtime's optimised graph. The latter stands in for every runtime that folds batch norm and fuses activations
    in its own way; its kernels are then summed by class, and their times not told.

    `version` raises InputError naming what is not installed. `prepare` writes one file, and others beside it with the same
    stem where the format has several. A module whose device is not the processor has a function `processor` that names it.
    A module whose runtime tells the times of kernels has a function `kernel_times`.
    """

    CLOCK: Clock
    DTYPE: str
    SUFFIX: str
    GRAPH: Graph

    def version(self) -> str: ...

    def prepare(self, network: "nn.Module", task: "Task", path: Path) -> None: ...

    def load(self, path: Path, threads: int = 1) -> Callable[[], object]: ...


def clock_of(runtime: Runtime, threads: int) -> Clock:
    """By which clock so many threads are timed: CPU time of the calling thread sees no other."""
    return "wall" if runtime.CLOCK == "cpu" and threads > 1 else runtime.CLOCK


def installed_version(package: str, what: str, extra: str = "") -> str:
    """The version of a runtime's package; raises InputError that names what to install."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        also = f", or the extra of this project: pip install 'compact-nas[{extra}]'" if extra else ""
        raise InputError(f"{what} needs the package {package}, which is not installed: pip install {package}{also}") from None


def runtime_names() -> list[str]:
    """Names of the runtimes, sorted."""
    return _RUNTIMES.names()


def summaries() -> dict[str, str]:
    """One line about each runtime, by name; imports none of them."""
    return _RUNTIMES.summaries()


def load_runtime(name: str) -> Runtime:
    """The runtime called `name`; raises InputError with the near miss."""
    return cast(Runtime, _RUNTIMES.load(name))
