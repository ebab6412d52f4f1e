"""Meter: times networks for a search, on this machine with the runtime of the run's device profile."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evaluators.latency.measure import Measurement
from evaluators.latency.remeasure import Bench, measure_apart, measure_here
from evaluators.latency.runtime import load_runtime
from search_spaces.task import Task

if TYPE_CHECKING:
    from torch import nn

_CHECK_S = 2.0
_SESSION_S = 2.5  # for each network
Timing = Callable[[Sequence[Path], float, Bench, int], list[Measurement]]


class Meter(Protocol):
    """Measures networks by name at a task's input."""

    @property
    def usual(self) -> float:
        """Contention that the machine usually has."""

    def check(self, networks: "Mapping[str, nn.Module]", task: Task) -> dict[str, Measurement]:
        """At once, in this process, while trainings may go on around it."""

    def session(self, networks: "Mapping[str, nn.Module]", task: Task, seed: int) -> dict[str, Measurement]:
        """In a fresh process, in turns; the networks are prepared anew for each session."""

    def rest(self, seconds: float) -> None:
        """Waits, so that what keeps the machine busy may pass."""


@dataclass(frozen=True)
class LocalMeter:
    """This machine, timed as its profile was."""

    bench: Bench

    @property
    def usual(self) -> float:
        return self.bench.usual

    def check(self, networks: "Mapping[str, nn.Module]", task: Task) -> dict[str, Measurement]:
        return self._time(networks, task, measure_here, _CHECK_S, 0)

    def session(self, networks: "Mapping[str, nn.Module]", task: Task, seed: int) -> dict[str, Measurement]:
        return self._time(networks, task, measure_apart, _SESSION_S, seed)

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def _time(
        self, networks: "Mapping[str, nn.Module]", task: Task, timing: Timing, seconds: float, seed: int
    ) -> dict[str, Measurement]:
        code = load_runtime(self.bench.runtime)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}{code.SUFFIX}" for i in range(len(networks))]
            for network, path in zip(networks.values(), paths, strict=True):
                code.prepare(network, task, path)
            figures = timing(paths, seconds * len(paths), self.bench, seed)
        return dict(zip(networks, figures, strict=True))
