"""What two Ray workers bring beside one plain loop: the same candidates, recipe and seeds, and the same accuracies.

usage: python benchmarks/parallel.py [--candidates N] [--pictures P] [--rounds R] [--workers W] [--seed S]

Candidates are drawn from the space `tiny`, the costliest first, and trained for one epoch of P of the pictures that ship with
the package and validated on as many, with one thread each: in a plain loop in this process, then by the executor of `nas
search`. Efficiency is the loop's seconds by W times the executor's. A worker's span is from the start of its first training to
the end of its last; what of it was not spent in epochs is overhead (building the network, handing over results and jobs), which
the plain loop has too. `idle` is a worker's share of the time from the first start to the last end that it spent in no epoch.
Processor seconds do not depend on what else the machine does: the loop's, the workers' from the first training on, and those of
everything else that the executor runs on the same cores meanwhile. The row after them is the efficiency that these amount to.
Cores share caches and memory: the same loop is run in W processes at once as well, without Ray; how much slower it is then is
the machine's part, and the last row is the efficiency without it.
"""

import argparse
import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

import psutil
import torch

from evaluators.cost import cost
from evaluators.data import Dataset, Split, load
from evaluators.training.batches import Pictures
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.recipe import load_recipe
from nas.jobs import Job, Progress, Setting
from search_spaces.genotype import Genotype
from search_spaces.space import load_space

_CPU = torch.device("cpu")
_WORKER = ("ray::Worker", "ray::ResourceTrainable")  # idle, and at work
Span = tuple[float, float]


@dataclass
class Measured:
    """One way of training all jobs: accuracies by job, wall and processor seconds, and the trainings' own."""

    accuracies: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0
    with_start: float = 0.0
    training: float = 0.0
    overhead: float = 0.0
    idle: list[float] = field(default_factory=list)
    cpu: float = 0.0
    cpu_beside: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load("fashion-mnist-small")
    dataset = replace(dataset, validation=_first(dataset.validation, flags.pictures))
    space = load_space("tiny")
    task = space.task(len(dataset.classes)).at(dataset.size)
    setting = Setting(task, dataset, 1)
    rng = random.Random(flags.seed)
    genotypes = sorted((space.sample(rng) for _ in range(flags.candidates)), key=lambda g: -cost(g, task).macs)
    share = flags.pictures / len(dataset.train)
    recipe = replace(load_recipe("proxy", epochs=1), share=share, least_pictures=0)
    jobs = [Job(str(i), "", genotype.text, recipe, flags.seed) for i, genotype in enumerate(genotypes)]
    print(
        f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
        f"{len(jobs)} candidates of `tiny`, {flags.pictures} pictures of {dataset.size}x{dataset.size}, {flags.workers} workers"
    )
    rounds = [_round(jobs, setting, flags.workers, number) for number in range(1, flags.rounds + 1)]
    _summary(rounds, len(jobs), flags.workers)


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


def _round(jobs: list[Job], setting: Setting, workers: int, number: int) -> tuple[Measured, Measured, float]:
    loop, ray = plain_loop(jobs, setting), executor(jobs, setting, workers)
    slower = together(jobs, setting, workers) / loop.training
    assert loop.accuracies == ray.accuracies, "the workers' accuracies are not those of the loop"
    print(f"round {number}, load {os.getloadavg()[0]:.1f}:")
    for name, found in (("loop", loop), (f"{workers} workers", ray)):
        print(
            f"  {name:<10} {found.wall:6.1f} s, {found.with_start:6.1f} s with its start; in epochs {found.training:6.1f} s, "
            f"overhead {found.overhead / len(jobs):.3f} s a candidate, idle {', '.join(f'{i:.1%}' for i in found.idle)}; "
            f"processor {found.cpu:.1f} s, beside {found.cpu_beside:.1f} s"
        )
    print(f"  {workers} such loops at once: {slower:.3f} times as long")
    return loop, ray, slower


def plain_loop(jobs: list[Job], setting: Setting) -> Measured:
    found, data = Measured(), setting.dataset
    start, cpu = time.monotonic(), time.process_time()
    train, validation = _pictures(data)
    begun = time.monotonic()
    for job in jobs:
        network, generator = seeded_network(Genotype.parse(job.genotype), setting.task, job.seed, _CPU)
        for epoch in epochs(network, train, validation, job.recipe, generator):
            found.accuracies[job.id] = epoch.accuracy
            found.training += epoch.seconds
    end = time.monotonic()
    found.wall, found.with_start, found.cpu = end - begun, end - start, time.process_time() - cpu
    found.overhead = found.wall - found.training
    found.idle = [found.overhead / found.wall]
    return found


def together(jobs: list[Job], setting: Setting, workers: int) -> float:
    """Mean seconds in epochs of the plain loop when one runs on each of as many processors, in processes of their own."""
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        loops = pool.map(plain_loop, [jobs] * workers, [setting] * workers)
        return statistics.mean(found.training for found in loops)


def _pictures(data: Dataset) -> Iterator[Pictures]:
    mean, std = data.mean_std()
    return (Pictures(split.images, split.labels, mean, std, _CPU) for split in (data.train, data.validation))


def executor(jobs: list[Job], setting: Setting, workers: int) -> Measured:
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from nas.executors.ray_tune import RayTuneExecutor

    source = _Source(jobs)
    start = time.monotonic()
    made = RayTuneExecutor(setting, workers)
    with _Processors() as processors:
        made.run(source)
    made.close()
    found = Measured(source.accuracies, training=sum(source.seconds.values()))
    spans = _by_worker(source.trainings(), workers)
    first, last = min(span[0][0] for span in spans), max(span[-1][1] for span in spans)
    found.wall, found.with_start = last - first, last - start
    busy = [sum(end - begin for begin, end in span) for span in spans]
    found.overhead = sum(span[-1][1] - span[0][0] - b for span, b in zip(spans, busy, strict=True))
    found.idle = [1 - b / found.wall for b in busy]
    found.cpu, found.cpu_beside = processors.between(first, last)
    return found


class _Source:
    """Hands out jobs, and notes when the end of each was heard."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = list(jobs)
        self.accuracies: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def progress(self, job: Job, progress: Progress) -> bool:
        self.accuracies[job.id], self.seconds[job.id] = progress.accuracy, progress.seconds
        self._heard[job.id] = time.monotonic()
        return False

    def done(self, job: Job) -> None:
        """All was heard by `progress`: the trainings have one epoch."""

    def failed(self, job: Job, reason: str) -> None:
        raise AssertionError(reason)

    def trainings(self) -> list[Span]:
        return [(heard - self.seconds[name], heard) for name, heard in self._heard.items()]


def _by_worker(trainings: list[Span], workers: int) -> list[list[Span]]:
    """Each training to the worker that has been free for the shortest time when it starts: the one that it had ended on."""
    spans: list[list[Span]] = [[] for _ in range(workers)]
    for training in sorted(trainings):
        free = [span for span in spans if not span or span[-1][1] <= training[0]]
        min(free, key=lambda span: training[0] - span[-1][1] if span else float("inf")).append(training)
    return spans


class _Processors:
    """Processor seconds of this process and all below it, noted four times a second; new processes are seen within one."""

    def __enter__(self) -> "_Processors":
        self._notes: list[tuple[float, dict[int, float]]] = []
        self._known: list[psutil.Process] = []
        self._workers: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def between(self, first: float, last: float) -> tuple[float, float]:
        """Seconds of the workers, and of all other processes."""
        before = [note for at, note in self._notes if at <= first][-1]
        after = next(note for at, note in self._notes if at >= last)
        spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}
        workers = sum(seconds for pid, seconds in spent.items() if pid in self._workers)
        return workers, sum(spent.values()) - workers

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            if len(self._notes) % 4 == 0:
                self._look()
            self._note()
        self._note()

    def _look(self) -> None:
        me = psutil.Process()
        self._known = [me, *me.children(recursive=True)]
        for process in self._known:
            with suppress(psutil.NoSuchProcess, IndexError):  # it ends just now
                if process.cmdline()[0].startswith(_WORKER):
                    self._workers.add(process.pid)

    def _note(self) -> None:
        note = dict(self._notes[-1][1]) if self._notes else {}  # what has ended keeps what it spent
        for process in self._known:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                note[process.pid] = times.user + times.system
        self._notes.append((time.monotonic(), note))


def _undisturbed(loop: Measured, ray: Measured, workers: int) -> float:
    """Efficiency on as many processors as workers if nothing else ran there: work done by a processor second, times the share
    of the time that workers train, less the share that other processes of ours take from them.
    """
    return loop.cpu / ray.cpu * (1 - statistics.mean(ray.idle)) - ray.cpu_beside / (workers * ray.wall)


def _summary(rounds: list[tuple[Measured, Measured, float]], candidates: int, workers: int) -> None:
    def show(name: str, values: list[float], digits: int = 3) -> None:
        print(f"| {name} | {statistics.median(values):.{digits}f} | {min(values):.{digits}f} to {max(values):.{digits}f} |")

    print(f"\n| n = {len(rounds)} rounds of {candidates} candidates | median | range |\n|---|---|---|")
    show("efficiency", [loop.wall / (workers * ray.wall) for loop, ray, _ in rounds])
    show("efficiency, Ray's start counted", [loop.with_start / (workers * ray.with_start) for loop, ray, _ in rounds])
    show("overhead a candidate, s, workers", [ray.overhead / candidates for _, ray, _ in rounds])
    show("overhead a candidate, s, loop", [loop.overhead / candidates for loop, _, _ in rounds])
    show("idle share of a worker", [statistics.mean(ray.idle) for _, ray, _ in rounds])
    show("processor seconds, workers by loop", [ray.cpu / loop.cpu for loop, ray, _ in rounds])
    show("processors taken beside the workers", [ray.cpu_beside / ray.wall for _, ray, _ in rounds])
    show("efficiency by processor seconds", [_undisturbed(loop, ray, workers) for loop, ray, _ in rounds])
    show("a loop beside others of its kind, times as long", [slower for _, _, slower in rounds])
    show("efficiency without that", [slower * loop.wall / (workers * ray.wall) for loop, ray, slower in rounds])


if __name__ == "__main__":
    main()
