"""Times exported networks on this machine, robustly against other load.

Each visit to a network times it in short turns, with runs of a small reference network before, between and after them.
Networks are visited in rounds, each in a new random order (bench.py, which does the same on other machines). There are two
kinds of result: wall-clock percentiles, which a latency budget is about, and `robust_ms`, which predictors are fitted to: the
median over turns of

    median run * (quietest reference / reference around the turn) ** 0.8

The clock depends on the runtime. "cpu": thread CPU time, for runs that stay in the calling thread, which is pinned to one
processor. "wall" and "event" (the GPU's clock): CPU time would miss other threads, so only turns count whose reference is
within 5 % of its best, or within 10 % when those are too few. benchmarks/measuring.py prints the spread of repeated
measurements on a loaded machine. A reference time is the faster of two runs: an interruption would dominate a single run of
0.3 ms.
"""

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from evaluators.latency.runtime import DEFAULT, Clock, Runtime, clock_of, load_runtime
from evaluators.latency.timing.bench import LEAST_VISITS, pinned, visits
from search_spaces.schema import Count, FromZero, Whole, strict

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
_GATES = (0.05, 0.10)


Milliseconds = Annotated[float, Field(ge=1e-6, le=1e9)]
"""A latency in a file: from a nanosecond to eleven days."""


@strict
@dataclass(frozen=True)
class Measurement:
    """Wall-clock milliseconds of one inference, batch 1, over `n` runs; `robust_ms` is corrected for other load.

    spread: relative standard error of `robust_ms`, from the scatter of its turns.
    contention: median of reference time / quietest reference time, minus 1 (0 on a quiet machine).
    clock: the clock of `robust_ms`. counted: the number of turns behind `robust_ms`; all of them when the clock is "cpu".
    """

    p50_ms: Milliseconds
    p90_ms: Milliseconds
    mean_ms: Milliseconds
    std_ms: FromZero
    n: Count
    robust_ms: Milliseconds
    spread: FromZero
    contention: Annotated[float, Field(ge=-1, le=1e9)]
    clock: Clock = "cpu"
    counted: Whole = 0


Seconds = Annotated[float, Field(ge=1e-9, le=1e6)]
Turn = Annotated[tuple[Seconds, ...], Field(min_length=1)]
"""Seconds of the runs of one turn."""


@strict
@dataclass(frozen=True)
class Sample:
    """One turn: wall and CPU seconds of its runs, and mean seconds of the reference around them by `clock`.

    When the clock is "event", `wall` holds the GPU's event times.
    """

    wall: Turn
    cpu: Turn
    reference: Seconds
    clock: Clock = "cpu"

    @property
    def median(self) -> float:
        """Median seconds of a run by the sample's clock."""
        return statistics.median(self.cpu if self.clock == "cpu" else self.wall)


@dataclass(frozen=True)
class Reference:
    """The loaded reference network, with the clock to use for this runtime and number of threads."""

    run: Run
    clock: Clock = "cpu"
    threads: int = 1


def measure_file(path: Path, seconds: float = 3.0, runtime: str = DEFAULT, seed: int = 0, *, threads: int = 1) -> Measurement:
    """Times one exported network for about `seconds` seconds."""
    return measure_files([path], seconds, runtime, seed, threads=threads)[0]


def measure_files(
    paths: Sequence[Path],
    seconds: float,
    runtime: str = DEFAULT,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    threads: int = 1,
) -> list[Measurement]:
    """Times exported networks in interleaved rounds for about `seconds` seconds in total, with at least 4 visits each."""
    code = load_runtime(runtime)
    runs = [code.load(path, threads) for path in paths]
    samples = sample_rounds(runs, load_reference(code, threads), seconds, random.Random(seed), progress)
    quiet = quietest([sample for of_one in samples for sample in of_one])
    return [summarise(of_one, quiet) for of_one in samples]


def load_reference(runtime: Runtime, threads: int = 1, file: Path | None = None) -> Reference:
    """Loads the reference network from the file that `write_reference` wrote, or exports it first."""
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            file = Path(folder) / f"reference{runtime.SUFFIX}"
            write_reference(runtime, file)
        return Reference(runtime.load(file, threads), clock_of(runtime, threads), threads)


def write_reference(runtime: Runtime, path: Path) -> None:
    """Exports the reference network to the runtime's file, with the same weights every time."""
    import torch

    from search_spaces.genotype import Genotype
    from search_spaces.network import build
    from search_spaces.task import Task

    task = Task(_REFERENCE_INPUT, 10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        runtime.prepare(build(Genotype.parse(REFERENCE), task), task, path)


def sample_rounds(
    runs: Sequence[Run], reference: Reference, seconds: float, rng: random.Random, progress: Progress | None = None
) -> list[list[Sample]]:
    """The turns of each network, timed in rounds of random order until the time is up.

    With one thread, the caller is pinned to one processor meanwhile, where the operating system supports it.
    """
    samples: list[list[Sample]] = [[] for _ in runs]
    with pinned() if reference.threads == 1 else nullcontext():
        for index, turns, done in visits(runs, reference.run, reference.clock, seconds, rng):
            samples[index] += [Sample(tuple(wall), tuple(cpu), around, reference.clock) for wall, cpu, around in turns]
            if progress:
                progress(done, "timing")
    return samples


def slowdown(contention: float) -> float:
    """The factor by which a network slows down when the reference takes 1 + `contention` times its quiet time."""
    return float((1 + contention) ** _EXPONENT)


def quietest(samples: Sequence[Sample]) -> float:
    """Seconds of the reference on a quiet machine: the 2nd percentile of all turns."""
    ordered = sorted(s.reference for s in samples)
    return ordered[int(_QUIET * (len(ordered) - 1))]


def summarise(samples: Sequence[Sample], quiet: float) -> Measurement:
    """Summarises the turns of one network; `quiet` is the reference's quiet time in seconds."""
    wall = sorted(t * 1e3 for s in samples for t in s.wall)
    clock = samples[0].clock
    counted = samples if clock == "cpu" else gated(samples, quiet)
    medians = [s.median * 1e3 / slowdown(s.reference / quiet - 1) for s in counted]
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
        contention=statistics.median(s.reference for s in samples) / quiet - 1,
        clock=clock,
        counted=len(counted),
    )


def gated(samples: Sequence[Sample], quiet: float) -> list[Sample]:
    """The turns whose reference is within 5 % of its best, else within 10 %; if both leave fewer than 4, the 4 quietest."""
    for gate in _GATES:
        passed = [s for s in samples if s.reference <= quiet * (1 + gate)]
        if len(passed) >= LEAST_VISITS:
            return passed
    return sorted(samples, key=lambda s: s.reference)[:LEAST_VISITS]
