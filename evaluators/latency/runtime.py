"""Runtime: the interface of the modules in `runtimes/`, and their lookup by name."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from evaluators import quantisers
from evaluators.precision import Precision
from search_spaces.errors import InputError
from search_spaces.plugins import Modules

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import nn

    from search_spaces.task import Task

DEFAULT = "onnxruntime_cpu"
_RUNTIMES = Modules("runtimes", "evaluators.latency.runtimes", "latency runtime")


Clock = Literal["cpu", "wall", "event"]
Graph = Literal["fused", "fused8", "eager", "quantised"]


class Runtime(Protocol):
    """A module in `runtimes/`: exports a network, loads it with a number of threads, and runs it.

    CLOCK: the clock to use with one thread. "cpu": runs are synchronous and stay in the calling thread; "wall": they do
    not; "event": runs return their seconds, by the device's own clock.

    GRAPH: the lowering that gives the runtime's kernels (evaluators.latency.kernels). "eager": torch's operations one by one;
    "fused": ONNX Runtime's optimised graph, which stands in for every runtime that folds batch norm and fuses activations in
    its own way; such kernels are summed by class, without times of their own. "fused8": the same with channels in blocks of 8,
    where the processor has no AVX-512; the kernels that were timed tell. "quantised": ONNX Runtime's int8 graph.

    DTYPE: the precision of the arithmetic. `prepare` of an int8 module takes as fourth argument `images` [N, C, H, W] to
    calibrate on; without, ranges are arbitrary, which is enough for timing. Its constant QUANTISER names the quantiser that
    makes its files (evaluators.quantisers). INT8, optional: the name of the int8 module for the same runtime.

    `version` raises InputError naming the missing package. `prepare` writes one file, plus others with the same stem if the
    format has several. A module whose device is not the CPU has a function `processor` that returns the device's name. A
    module whose runtime reports kernel times has a function `kernel_times`. A module whose networks are tested through it has a
    function `answers` (`answers_of`).
    """

    CLOCK: Clock
    DTYPE: Precision
    SUFFIX: str
    GRAPH: Graph

    def version(self) -> str: ...

    def prepare(self, network: "nn.Module", task: "Task", path: Path) -> None: ...

    def load(self, path: Path, threads: int = 1) -> Callable[[], object]: ...


def clock_of(runtime: Runtime, threads: int) -> Clock:
    """The clock for a number of threads: CPU time of the calling thread misses the other threads."""
    return "wall" if runtime.CLOCK == "cpu" and threads > 1 else runtime.CLOCK


def at_precision(name: str, precision: Precision | None) -> str:
    """The runtime called `name`, or its int8 module, at a precision (its own if None); raises InputError if it has none."""
    code = load_runtime(name)
    found = name if precision in (None, code.DTYPE) else getattr(code, "INT8", None) if precision == "int8" else None
    if found is None:
        able = ", ".join(n for n in runtime_names() if precision == load_runtime(n).DTYPE)
        raise InputError(f"the runtime {name} does not run networks in {precision}; these do: {able}")
    return str(found)


def in_float32(name: str) -> str | None:
    """The float32 module of an int8 runtime; None if the runtime is in float32, or has none."""
    return next((other for other in runtime_names() if getattr(load_runtime(other), "INT8", None) == name), None)


def quantiser_of(name: str) -> str:
    """The quantiser of an int8 runtime, or of a runtime's int8 module; ONNX Runtime's if a float32 runtime has none.

    Raises InputError if an int8 runtime does not name its quantiser.
    """
    code = load_runtime(name)
    own = name if code.DTYPE == "int8" else getattr(code, "INT8", None)
    if own is None:
        return quantisers.DEFAULT
    found = getattr(load_runtime(own), "QUANTISER", None)
    if found is None:
        raise InputError(f"the runtime {own} does not name the quantiser that makes its files (QUANTISER)")
    return str(found)


def answers_of(name: str, path: Path, threads: int = 1) -> "Callable[[ndarray], ndarray]":
    """What the network in the runtime's file `path` answers: a function from an image [1, C, H, W] to logits [1, classes].

    `threads` threads may call it at the same time. Raises InputError if the runtime is not installed, or has no such function.
    """
    found = getattr(load_runtime(name), "answers", None)
    if found is None:
        raise InputError(f"the runtime {name} times networks, but does not tell what they answer")
    return cast("Callable[[ndarray], ndarray]", found(path, threads))


def runtime_names() -> list[str]:
    """Names of the runtimes, sorted."""
    return _RUNTIMES.names()


def summaries() -> dict[str, str]:
    """A one-line summary of each runtime by name; imports none of them."""
    return _RUNTIMES.summaries()


def load_runtime(name: str) -> Runtime:
    """The runtime called `name`; raises InputError that suggests the closest name."""
    return cast(Runtime, _RUNTIMES.load(name))
