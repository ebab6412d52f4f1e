"""Measures this machine for a space: exports networks, times them in groups, and adds the result to the device profile."""

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluators.latency.device.calibrate import calibrated, new_profile
from evaluators.latency.device.choose_networks import EFFORTS, Chosen, Effort, choose_networks
from evaluators.latency.device.journal import Journal
from evaluators.latency.device.local_device import local_device
from evaluators.latency.device.locks import measuring
from evaluators.latency.device.profile import LOCAL, Device, Profile, profile_name
from evaluators.latency.device.profile_files import listing, read_profile, save_profile
from evaluators.latency.device.space_key import space_key
from evaluators.latency.device.storage import user_folder, writable_folder
from evaluators.latency.kernels.kernel import Timed
from evaluators.latency.runtime import DEFAULT, Runtime, load_runtime
from evaluators.latency.timing.bench import machine as this_machine
from evaluators.latency.timing.exporting import Order, Write, writers
from evaluators.latency.timing.measure import Progress, Run, load_reference, sample_rounds
from search_spaces.space import SearchSpace

_GROUP = 8  # networks in memory at once
_NORMAL = EFFORTS["normal"]


def measure_profile(
    space: SearchSpace,
    progress: Progress | None = None,
    name: str = LOCAL,
    seconds: float = _NORMAL.seconds,
    *,
    fit: int = _NORMAL.fit,
    verify: int = _NORMAL.verify,
    seed: int = 0,
    runtime: str = DEFAULT,
    threads: int = 1,
    waiting: Callable[[], None] | None = None,
    anew: bool = True,
) -> Profile:
    """Measures this machine on `fit` + `verify` networks of a space, saves the device profile, and returns it.

    `seconds` is the time spent timing; exporting comes on top. `progress(fraction, what)` is called often. If the process
    dies, the next call with the same arguments continues from there. One process per machine measures at a time: `waiting`
    is called before this one waits for another. Unless `anew`, an existing measurement for the space is reused after the
    wait.
    """
    job = _Job(space, local_device(runtime, threads), Effort(fit, verify, seconds), seed)
    path = writable_folder() / f"{profile_name(job.device, name)}.json"
    with measuring(waiting or _silent):
        known = None if anew else _added_meanwhile(path, job)
        if known is None:
            path = _measured_now(job, name, progress or _silent)
        return known or read_profile(path)


@dataclass(frozen=True)
class _Job:
    """What to measure: a space on a device, with how many networks for how long, and the seed that picks them."""

    space: SearchSpace
    device: Device
    effort: Effort
    seed: int


def _added_meanwhile(path: Path, job: _Job) -> Profile | None:
    """The profile in a file, if it belongs to this device and covers the space."""
    found = listing(path.stem, path).profile if path.exists() else None
    return found if found and found.device == job.device and space_key(job.space) in found.spaces else None


def _measured_now(job: _Job, name: str, progress: Progress) -> Path:
    """Measures, saves the profile, and returns its file."""
    start, space, device = time.monotonic(), job.space, job.device
    chosen, key = choose_networks(space, job.effort.fit, job.effort.verify, job.seed), space_key(space)
    journal = Journal(user_folder() / f"{device.name}.{key}.partial", chosen)
    _measure(journal, job, progress)
    calibration = calibrated(
        (space.name, space.inputs),
        chosen,
        journal.samples,
        seed=job.seed,
        seconds=time.monotonic() - start,
        kernels=journal.kernels,
        graph=load_runtime(device.runtime).GRAPH,
    )
    path = save_profile(new_profile(device, name, key, calibration, this_machine()))
    journal.path.unlink(missing_ok=True)
    return path


def _measure(journal: Journal, job: _Job, progress: Progress) -> None:
    """Exports and times the networks missing from the journal, in shuffled groups."""
    chosen, todo, rng = journal.chosen, journal.missing(), random.Random(job.seed)
    rng.shuffle(todo)
    runtime, threads = load_runtime(job.device.runtime), job.device.threads
    reference = load_reference(runtime, threads)
    with writers(job.device.runtime, len(todo)) as write:
        for start in range(0, len(todo), _GROUP):
            group = {i: chosen[i] for i in todo[start : start + _GROUP]}
            report = _of_group(progress, len(chosen) - len(todo) + start, len(group), len(chosen))
            runs: list[Run] = []
            for i, (run, kernels) in zip(group, _exported(group.values(), runtime, threads, write), strict=True):
                runs.append(run)
                journal.kernels[i] = kernels
                report(0.5 * len(runs) / len(group), "exporting networks")
            share = job.effort.seconds * len(group) / len(chosen)
            timed = sample_rounds(runs, reference, share, rng, partial(_second_half, report))
            for i, visits in zip(group, timed, strict=True):
                journal.add(i, visits)
    progress(1.0, "measured")


def _of_group(progress: Progress, done: int, group: int, total: int) -> Progress:
    """Converts progress within a group to overall progress."""
    return lambda part, what: progress((done + group * part) / total, what)


def _second_half(report: Progress, part: float, _: str) -> None:
    report(0.5 + 0.5 * part, "timing networks")


def _exported(group: Iterable[Chosen], runtime: Runtime, threads: int, write: Write) -> Iterator[tuple[Run, tuple[Timed, ...]]]:
    """Exports networks to temporary files and loads them; also their kernel times, if the runtime reports them."""
    kernel_times = getattr(runtime, "kernel_times", None)
    with tempfile.TemporaryDirectory() as folder:
        files = ((chosen, Path(folder) / f"{i}{runtime.SUFFIX}") for i, chosen in enumerate(group))
        orders = [Order(chosen.genotype, chosen.genotype.task(chosen.classes), path) for chosen, path in files]
        for path in list(write(orders)):
            kernels = kernel_times(path, threads=threads) if kernel_times else []
            yield runtime.load(path, threads), tuple((k.kind, k.size, round(k.ms, 6)) for k in kernels)


def _silent(*_: object) -> None:
    pass
