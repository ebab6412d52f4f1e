"""What two Ray workers bring beside one plain loop: the same candidates, recipe and seeds, and the same accuracies.

usage: python benchmarks/parallel.py [--candidates N] [--images P] [--rounds R] [--workers W] [--seed S]

Candidates are drawn from the space `tiny`, the costliest first, and trained for one epoch of P of the images that ship with
the package and validated on as many, with one thread each: in a plain loop in a process of its own, then by the executor of
`nas search`, then by W plain processes that take the same candidates in turn, without Ray: cores share caches and memory, and
their efficiency is the machine's. This process trains nothing, like that of a search: beside the heap that training leaves to
it, Ray's workers were slower. Efficiency is the loop's seconds by W times the workers'. A worker's span is from the start of
its first training to the end of its last; what of it was not spent in epochs is overhead (building the network, handing over
results and jobs), which the plain loop has too. `idle` is a worker's share of the time from the first start to the last end
that it spent in no epoch. Processor seconds do not depend on what else the machine does: the loop's, the workers' from the
first training on, and those of everything else that the executor runs on the same cores meanwhile.
"""

import argparse
import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

import psutil
import torch

from evaluators.cost import cost
from evaluators.data import Split, load
from evaluators.training.batches import Batches
from evaluators.training.loop import epochs, seeded_network
from evaluators.training.recipe import load_recipe
from nas.executors.job import EpochReport, Job, Setting
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

_CPU = torch.device("cpu")
_INPUT = (3, 28, 28)
_WORKER = ("ray::Worker", "ray::ResourceTrainable")  # idle, and at work
Span = tuple[float, float]
Round = dict[str, "Measured"]


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
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load("fashion-mnist-small", inputs=[_INPUT])
    dataset = replace(dataset, validation=_first(dataset.validation, flags.images))
    space = replace(load_space("tiny"), inputs=(_INPUT,))
    task = space.task(len(dataset.classes))
    setting = Setting(dataset, *dataset.mean_std(), "top1", 1)
    rng = random.Random(flags.seed)
    genotypes = sorted((space.sample(rng) for _ in range(flags.candidates)), key=lambda g: -cost(g, task).macs)
    share = flags.images / len(dataset.train)
    recipe = replace(load_recipe("proxy", epochs=1), share=share, least_images=0)
    jobs = [Job(str(i), "", genotype.text, recipe, flags.seed) for i, genotype in enumerate(genotypes)]
    print(
        f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
        f"{len(jobs)} candidates of `tiny`, {flags.images} images of 28x28, {flags.workers} workers"
    )
    rounds = [_round(jobs, setting, flags.workers, number) for number in range(1, flags.rounds + 1)]
    _summary(rounds, len(jobs), flags.workers)


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


def _round(jobs: list[Job], setting: Setting, workers: int, number: int) -> Round:
    ways = {
        "loop": processes(jobs, setting, 1),
        "Ray": executor(jobs, setting, workers),
        "plain": processes(jobs, setting, workers),
    }
    assert all(way.accuracies == ways["loop"].accuracies for way in ways.values()), "accuracies are not those of the loop"
    print(f"round {number}, load {os.getloadavg()[0]:.1f}, {workers} workers:")
    for name, found in ways.items():
        print(
            f"  {name:<6} {found.wall:6.1f} s, {found.with_start:6.1f} s with its start; in epochs {found.training:6.1f} s, "
            f"overhead {found.overhead / len(jobs):.3f} s a candidate, idle {', '.join(f'{i:.1%}' for i in found.idle)}; "
            f"processor {found.cpu:.1f} s, beside {found.cpu_beside:.1f} s"
        )
    return ways


def processes(jobs: list[Job], setting: Setting, workers: int) -> Measured:
    """Plain processes, without Ray, which take the jobs in turn; one such is the plain loop."""
    start, context = time.monotonic(), get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare, (setting, context.Barrier(workers))) as pool:
        ended = list(pool.map(_train, jobs))
    spans = [[e.span for e in ended if e.process == process] for process in {e.process for e in ended}]
    found = _of_spans(spans, start)
    found.accuracies = {job.id: e.accuracy for job, e in zip(jobs, ended, strict=True)}
    found.cpu = sum(e.cpu for e in ended)
    return found


@dataclass(frozen=True)
class _Ended:
    """A training that a plain process has done: from when to when it was in its epoch, and processor seconds with the rest."""

    process: int
    accuracy: float
    span: Span
    cpu: float


_prepared: tuple[Setting, list[Batches]]


def _prepare(setting: Setting, all_ready: Barrier) -> None:
    global _prepared
    torch.set_num_threads(setting.threads)
    _prepared = setting, [setting.images(part, _INPUT, _CPU) for part in ("train", "validation")]
    all_ready.wait()


def _train(job: Job) -> _Ended:
    setting, (train, validation) = _prepared
    cpu = time.process_time()
    genotype = Genotype.parse(job.genotype)
    task = genotype.task(len(setting.dataset.classes))
    network, generator = seeded_network(genotype, task, job.seed, _CPU)
    (epoch,) = epochs(network, train, validation, job.recipe, generator)
    end = time.monotonic()
    return _Ended(os.getpid(), epoch.accuracy, (end - epoch.seconds, end), time.process_time() - cpu)


def executor(jobs: list[Job], setting: Setting, workers: int) -> Measured:
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from nas.executors.ray_tune import RayTuneExecutor

    source = _Source(jobs)
    start = time.monotonic()
    made = RayTuneExecutor(setting, workers)
    with _Processors() as processors:
        made.run(source)
    made.close()
    spans = _by_worker(source.trainings(), workers)
    found = _of_spans(spans, start)
    found.accuracies = source.accuracies
    found.cpu, found.cpu_beside = processors.between(min(span[0][0] for span in spans), max(span[-1][1] for span in spans))
    return found


def _of_spans(spans: list[list[Span]], start: float) -> Measured:
    """What the workers' trainings amount to; `start` is when they were called."""
    first, last = min(span[0][0] for span in spans), max(span[-1][1] for span in spans)
    busy = [sum(end - begin for begin, end in span) for span in spans]
    overhead = sum(span[-1][1] - span[0][0] - b for span, b in zip(spans, busy, strict=True))
    idle = [1 - b / (last - first) for b in busy]
    return Measured(wall=last - first, with_start=last - start, training=sum(busy), overhead=overhead, idle=idle)


class _Source:
    """Hands out jobs, and notes when the end of each was heard."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = list(jobs)
        self.accuracies: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def progress(self, job: Job, progress: EpochReport) -> bool:
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


def _summary(rounds: list[Round], candidates: int, workers: int) -> None:
    def show(name: str, value: Callable[[Measured, Measured, Measured], float]) -> None:
        values = [value(ways["loop"], ways["Ray"], ways["plain"]) for ways in rounds]
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} |")

    print(f"\n| n = {len(rounds)} rounds of {candidates} candidates | median | range |\n|---|---|---|")
    show("efficiency", lambda loop, ray, _: loop.wall / (workers * ray.wall))
    show("efficiency of plain processes", lambda loop, _, plain: loop.wall / (workers * plain.wall))
    show("efficiency against plain processes", lambda _, ray, plain: plain.wall / ray.wall)
    show("efficiency, starts counted", lambda loop, ray, _: loop.with_start / (workers * ray.with_start))
    show("overhead a candidate, s, workers", lambda _, ray, __: ray.overhead / candidates)
    show("overhead a candidate, s, loop", lambda loop, _, __: loop.overhead / candidates)
    show("idle share of a worker", lambda _, ray, __: statistics.mean(ray.idle))
    show("seconds in epochs, workers by loop", lambda loop, ray, _: ray.training / loop.training)
    show("seconds in epochs, plain processes by loop", lambda loop, _, plain: plain.training / loop.training)
    show("processor seconds, workers by loop", lambda loop, ray, _: ray.cpu / loop.cpu)
    show("processors taken beside the workers", lambda _, ray, __: ray.cpu_beside / ray.wall)


if __name__ == "__main__":
    main()
