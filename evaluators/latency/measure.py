"""Timing exported networks on this machine so that the figures survive other work on it.

Each visit to a network times the small reference network, a few runs of the network, and the reference again.
Networks are visited in rounds, each round in a new random order. Two kinds of figure come out: wall-clock
percentiles, which are what a latency budget promises, and `robust_ms`, which predictors are fitted to: the median
over runs of

    cpu_run * (quietest reference / reference around the run) ** 0.8

with thread CPU time, good to 2 % where wall medians drift by 10 % (measured at a load of 11 on 2 cores; the exponent
made quiet and loaded thirds of the samples agree).
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.latency.runtime import DEFAULT, Runtime, load_runtime

Run = Callable[[], object]
Progress = Callable[[float, str], None]

REFERENCE = """
conv 16/2 act=relu
inverted_residual 24/2 expand=4 act=relu
inverted_residual 48/2 expand=4 act=relu
inverted_residual 48/1 expand=4 act=relu x2
head
"""
_REFERENCE_INPUT = (3, 96, 96)
_EXPONENT = 0.8
_QUIET = 0.02
_LEAST_RUNS = 3
_VISIT_S = 0.02
_LEAST_VISITS = 4


@dataclass(frozen=True)
class Measurement:
    """Wall-clock milliseconds of one inference, batch 1, over `n` runs; `robust_ms` corrected for other work.

    spread: standard error of `robust_ms` relative to it, from the scatter of its visits.
    contention: median over runs of reference time over its quietest, minus 1 (0 on a quiet machine).
    """

    p50_ms: float
    p90_ms: float
    mean_ms: float
    std_ms: float
    n: int
    robust_ms: float
    spread: float
    contention: float


@dataclass(frozen=True)
class Sample:
    """One visit: wall and CPU seconds of its runs, mean CPU seconds of the reference around them."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    reference: float


def measure_file(path: Path, seconds: float = 3.0, runtime: str = DEFAULT, seed: int = 0) -> Measurement:
    """Times one exported network for about `seconds` seconds."""
    return measure_files([path], seconds, runtime, seed)[0]


def measure_files(
    paths: Sequence[Path], seconds: float, runtime: str = DEFAULT, seed: int = 0, progress: Progress | None = None
) -> list[Measurement]:
    """Times exported networks in interleaved rounds for about `seconds` seconds in all, each in at least 4 visits."""
    code = load_runtime(runtime)
    runs = [code.load(path) for path in paths]
    samples = sample_rounds(runs, load_reference(code), seconds, random.Random(seed), progress)
    quiet = quietest([s for visits in samples for s in visits])
    return [summarise(visits, quiet) for visits in samples]


def load_reference(runtime: Runtime) -> Run:
    """The reference network, exported and loaded."""
    import torch

    from search_spaces.genotype import Genotype
    from search_spaces.network import build
    from search_spaces.task import Task

    task = Task(_REFERENCE_INPUT, 10)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        path = Path(folder) / f"reference{runtime.SUFFIX}"
        runtime.prepare(build(Genotype.parse(REFERENCE), task), task, path)
        return runtime.load(path)


def sample_rounds(
    runs: Sequence[Run], reference: Run, seconds: float, rng: random.Random, progress: Progress | None = None
) -> list[list[Sample]]:
    """The visits of each network, rounds in random order until the time is used."""
    samples: list[list[Sample]] = [[] for _ in runs]
    for run in (reference, *runs):
        _time(run, 2)
    start = time.monotonic()
    rounds = 0
    while rounds < _LEAST_VISITS or time.monotonic() - start < seconds:
        for done, index in enumerate(rng.sample(range(len(runs)), len(runs))):
            samples[index].append(visit(runs[index], reference))
            if progress:
                by_rounds = (rounds + done / len(runs)) / _LEAST_VISITS
                progress(min(1.0, by_rounds, (time.monotonic() - start) / seconds if seconds else 1.0), "timing")
        rounds += 1
    return samples


def visit(run: Run, reference: Run) -> Sample:
    """Times one network between two runs of the reference; each is run once unmeasured first, to warm the caches."""
    before = _time(reference, 2)[1][-1]
    first = _time(run, 1)[0][0]
    wall, cpu = _time(run, max(_LEAST_RUNS, min(50, int(_VISIT_S / max(first, 1e-6)))))
    after = _time(reference, 2)[1][-1]
    return Sample(tuple(wall), tuple(cpu), (before + after) / 2)


def quietest(samples: Sequence[Sample]) -> float:
    """The reference's CPU seconds when the machine was quiet: the 2nd percentile of all visits."""
    ordered = sorted(s.reference for s in samples)
    return ordered[int(_QUIET * (len(ordered) - 1))]


def summarise(visits: Sequence[Sample], quiet: float) -> Measurement:
    """The figures of one network from its visits; `quiet` is the reference's quiet time in seconds."""
    wall = sorted(t * 1e3 for s in visits for t in s.wall)
    medians = [statistics.median(s.cpu) * 1e3 * (quiet / s.reference) ** _EXPONENT for s in visits]
    robust = statistics.median(medians)
    scatter = statistics.median(abs(m - robust) for m in medians) * 1.4826
    return Measurement(
        p50_ms=statistics.median(wall),
        p90_ms=wall[min(len(wall) - 1, int(0.9 * len(wall)))],
        mean_ms=statistics.fmean(wall),
        std_ms=statistics.pstdev(wall),
        n=len(wall),
        robust_ms=robust,
        spread=1.2533 * scatter / robust / len(medians) ** 0.5,
        contention=statistics.median(s.reference for s in visits) / quiet - 1,
    )


def _time(run: Run, times: int) -> tuple[list[float], list[float]]:
    """Wall and thread CPU seconds of each of `times` runs."""
    walls, cpus = [], []
    for _ in range(times):
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        run()
        walls.append((time.perf_counter_ns() - wall) * 1e-9)
        cpus.append((time.thread_time_ns() - cpu) * 1e-9)
    return walls, cpus
