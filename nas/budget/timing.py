"""Timer: measures latency during a search, on this machine with the runtime of the run's device profile."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from evaluators.latency.device.measure_networks import Bench, measure_apart, measure_here
from evaluators.latency.device.stored_times import Times
from evaluators.latency.kernels.by_block import by_block
from evaluators.latency.runtime import in_float32, load_runtime
from evaluators.latency.timing.measure import Measurement
from evaluators.weights import load_network
from search_spaces.genotype import Genotype
from search_spaces.task import Input, Task

if TYPE_CHECKING:
    from evaluators.quantise import Quantisation
    from search_spaces.network import Network

_CHECK_S = 1.0
_SESSION_S = 2.5  # per network


class Timer(Protocol):
    """Measures networks, each at its genotype's input, else the task's."""

    @property
    def usual(self) -> float:
        """Typical load, as contention."""

    def check(self, genotype: Genotype, task: Task) -> Measurement:
        """Measure an untrained network in this process; trainings may be running."""

    def session(self, networks: "Mapping[str, Network]", task: Task, seed: int) -> dict[str, Measurement]:
        """Measure networks interleaved in a fresh process, exported again; measurements by name."""

    def float_p50_ms(self, network: "Network", task: Task) -> float | None:
        """Measure the float32 form of a network that is deployed in int8, in a fresh process; None if it is in float32."""

    def blocks_ms(self, network: "Network", task: Task) -> tuple[float, ...]:
        """Milliseconds of each block of a trained network by the runtime's profiler, which slows it down.

        Empty if the runtime has none, or if its kernels are not those expected.
        """

    def rest(self, seconds: float) -> None:
        """Wait for other load to pass."""


@dataclass(frozen=True)
class LocalTimer:
    """Measures on this machine, like its profile; `times` caches measurements of untrained networks.

    If the runtime runs int8, trained networks are quantised on the images of `quantisation` for their input.
    """

    bench: Bench
    times: Times
    quantisation: "Callable[[Input], Quantisation | None]" = lambda _: None

    @property
    def usual(self) -> float:
        return self.bench.usual

    def check(self, genotype: Genotype, task: Task) -> Measurement:
        task = task.of(genotype)
        known = self.times.get(genotype, task)
        if known is None:
            with self._prepared([load_network(genotype, task, None)], task) as paths:
                [known] = measure_here(paths, _CHECK_S, self.bench)
            self.times.add(genotype, task, known)
        return known

    def session(self, networks: "Mapping[str, Network]", task: Task, seed: int) -> dict[str, Measurement]:
        with self._prepared(list(networks.values()), task) as paths:
            figures = measure_apart(paths, _SESSION_S * len(paths), self.bench, seed)
        return dict(zip(networks, figures, strict=True))

    def float_p50_ms(self, network: "Network", task: Task) -> float | None:
        runtime = in_float32(self.bench.runtime)
        if runtime is None:
            return None
        code, own = load_runtime(runtime), task.of(network.genotype)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"network{code.SUFFIX}")
            code.prepare(network, own, path)
            [found] = measure_apart([path], _SESSION_S, replace(self.bench, runtime=runtime, quiet_ms=None))
        return found.p50_ms

    def blocks_ms(self, network: "Network", task: Task) -> tuple[float, ...]:
        code, own = load_runtime(self.bench.runtime), task.of(network.genotype)
        kernel_times = getattr(code, "kernel_times", None)
        if kernel_times is None:
            return ()
        with self._prepared([network], task) as [path]:
            times = kernel_times(path, threads=self.bench.threads)
        return tuple(by_block(times, network.genotype, own, code.GRAPH))

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    @contextmanager
    def _prepared(self, networks: "list[Network]", task: Task) -> Iterator[list[Path]]:
        """Temporary files of the networks in the runtime's format."""
        code = load_runtime(self.bench.runtime)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}{code.SUFFIX}" for i in range(len(networks))]
            for network, path in zip(networks, paths, strict=True):
                own = task.of(network.genotype)
                found = self.quantisation(own.input)
                code.prepare(network, own, path, *([] if found is None else [found.images]))
            yield paths
