"""Prints how far repeated measurements of one network spread while other processes keep the machine busy.

usage: python -m benchmarks.measuring [BUSY PROCESSES] [REPEATS] [SECONDS]

All columns come from the same runs. A figure is the coefficient of variation (standard deviation over mean) over the
repeats, and the largest over the smallest less 1; `ours` is evaluators.latency.timing.measure's `robust_ms`.
"""

import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evaluators.latency.runtime import DEFAULT, load_runtime
from evaluators.latency.timing.measure import Sample, load_reference, quietest, sample_rounds, summarise
from search_spaces.anchor import anchor
from search_spaces.network import build

NETWORK = "mobilenet_v2"


def main(busy: int = 10, repeats: int = 24, seconds: float = 4.0) -> None:
    code = load_runtime(DEFAULT)
    entry = anchor(NETWORK)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"network{code.SUFFIX}"
        code.prepare(build(entry.genotype, entry.task), entry.task, path)
        run, reference = code.load(path), load_reference(code)
    with _busy(busy):
        time.sleep(2)
        parts = [sample_rounds([run], reference, seconds, random.Random(i))[0] for i in range(repeats)]
        load = os.getloadavg()[0]
    _print(parts, f"{NETWORK}, {DEFAULT} {code.version()}, {repeats} x {seconds:g} s, {busy} busy processes, load {load:.1f}")


def _print(parts: Sequence[Sequence[Sample]], conditions: str) -> None:
    quiet = quietest([s for part in parts for s in part])
    found = {
        "wall median": [statistics.median(t for s in part for t in s.wall) for part in parts],
        "wall minimum": [min(t for s in part for t in s.wall) for part in parts],
        "CPU median": [statistics.median(t for s in part for t in s.cpu) for part in parts],
        "CPU minimum": [min(t for s in part for t in s.cpu) for part in parts],
        "ours": [summarise(part, quiet).robust_ms for part in parts],
        "ours, own quiet": [summarise(part, quietest(part)).robust_ms for part in parts],
    }
    slowed = statistics.median(s.reference for part in parts for s in part) / quiet - 1
    print(f"{conditions}; {len(os.sched_getaffinity(0))} processors; reference slowed by {slowed:.0%} in the median")
    for name, values in found.items():
        spread = statistics.stdev(values) / statistics.mean(values)
        print(f"{name:<16} CV {spread:6.1%}   max/min - 1 {max(values) / min(values) - 1:6.1%}   n {len(values)}")


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that move memory and calculate."""
    processes = [multiprocessing.get_context("spawn").Process(target=_work, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def _work() -> None:
    import numpy as np

    numbers = np.random.default_rng().standard_normal((400, 400)).astype(np.float32)
    while True:
        numbers = numbers @ numbers
        numbers /= abs(numbers).max()


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:3]), *(float(a) for a in sys.argv[3:4]))
