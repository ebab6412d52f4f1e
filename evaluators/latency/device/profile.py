"""Device profiles: what was measured on a device, one JSON file each; measuring this machine's.

A profile belongs to one device: processor, runtime with its version, threads, data type. It holds, for each search
space that it was calibrated for, the times of sampled networks: some to fit a predictor to, the others to verify it
with. Which space that is follows from its content, not from its name (space_key.py). Hand-designed networks are never among
them. The regressor is not stored: it is fitted again on loading (evaluators.latency.predict.predictor).
"""

import json
import math
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.resources import files
from itertools import cycle, product
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field

from evaluators.latency.device.space_key import space_key
from evaluators.latency.device.storage import (
    add_line,
    known_folder,
    locked,
    measuring,
    user_folder,
    whole_lines,
    writable_folder,
)
from evaluators.latency.kernels.kernel import Amount, Timed
from evaluators.latency.kernels.lowering import FEATURES, LOWERING, total_kernels
from evaluators.latency.runtime import DEFAULT, Clock, Graph, Runtime, load_runtime
from evaluators.latency.timing.bench import cpu_model, load_average
from evaluators.latency.timing.bench import machine as this_machine
from evaluators.latency.timing.exporting import Order, Write, writers
from evaluators.latency.timing.measure import (
    Measurement,
    Milliseconds,
    Progress,
    Run,
    Sample,
    load_reference,
    quietest,
    sample_rounds,
    summarise,
)
from search_spaces.anchor import anchors
from search_spaces.errors import InputError, near_miss, quoted
from search_spaces.genotype import Genotype, PaddingRule
from search_spaces.schema import Count, FromZero, Seed, Whole, checked, strict
from search_spaces.space import SearchSpace
from search_spaces.task import Input, check_input, input_text

SCHEMA = 3
LOCAL = "local"
Split = Literal["fit", "verify"]
FIT: Split = "fit"
VERIFY: Split = "verify"
_MEASURE = "`nas device measure`"
_AGAIN = f"delete it and run {_MEASURE} again"
_GROUP = 8  # networks in memory at once
_RAW = 100  # visits of a network whose raw figures are kept
_POOL = 400
_CLASSES = (10, 100, 1000)
_BLOCK = 16  # channels


class Effort(NamedTuple):
    """How many networks are measured to fit to and to verify with, and the seconds spent timing them."""

    fit: int
    verify: int
    seconds: float


EFFORTS = {"quick": Effort(20, 20, 20.0), "normal": Effort(42, 22, 60.0), "full": Effort(120, 60, 240.0)}
_NORMAL = EFFORTS["normal"]


Text = Annotated[str, Field(min_length=1, max_length=120)]


def _checked_date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Date = Annotated[str, AfterValidator(_checked_date)]
Inputs = Annotated[tuple[Annotated[Input, AfterValidator(check_input)], ...], Field(min_length=1)]


@strict
@dataclass(frozen=True)
class Device:
    """What a profile is valid for: another value of any of these is another device."""

    cpu: Text
    runtime: Text
    runtime_version: Text
    threads: Count
    dtype: Text

    @property
    def name(self) -> str:
        """The stem of the file of this device's profile."""
        words = f"{self.cpu} {self.runtime} {self.runtime_version} {self.threads}t {self.dtype}"
        return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")

    def __str__(self) -> str:
        return f"{self.cpu}, {self.runtime} {self.runtime_version}, {self.threads} thread(s), {self.dtype}"


@strict
@dataclass(frozen=True)
class MeasuredNetwork:
    """One timed network, at the input that its genotype names.

    `ms` is the robust estimate that predictors are fitted to, p50_ms and p90_ms are wall clock.

    `kernels` is what it ran, as evaluators.latency.kernels.lowering sums it by class: so a profile is fitted without tracing
    again. `raw` are its visits: median wall and CPU milliseconds of the runs, and the reference's. `kernel_times` are its
    kernels as the runtime's profiler tells them, where it does: class, size, milliseconds.
    """

    genotype: str
    classes: Count
    split: Split
    ms: Milliseconds
    p50_ms: Milliseconds
    p90_ms: Milliseconds
    n: Count
    spread: FromZero
    kernels: Mapping[str, Annotated[tuple[Amount, ...], Field(min_length=len(FEATURES), max_length=len(FEATURES))]]
    raw: tuple[tuple[FromZero, FromZero, FromZero], ...] = ()
    kernel_times: tuple[Timed, ...] = ()


@strict
@dataclass(frozen=True)
class Calibration:
    """What was measured for one search space, and under which conditions.

    space: its name then, for the reader only. inputs: those (channels, height, width) that the space's networks may have, by
    size; the measured ones are drawn at all.
    noise: median over networks of the relative standard error of `ms`. contention: median slow-down of the reference
    network by other work on the machine. reference_ms: its quiet time. seconds: how long measuring took. lowering: the
    version of the code that summed up the networks' kernels. clock: by which `ms` was timed (timing/measure.py).
    """

    space: str
    inputs: Inputs
    seed: Seed
    created: Date
    seconds: FromZero
    lowering: Whole
    reference_ms: Milliseconds
    noise: FromZero
    contention: Annotated[float, Field(ge=-1, le=1000)]
    load: FromZero
    networks: Annotated[tuple[MeasuredNetwork, ...], Field(min_length=1)]
    clock: Clock = "cpu"

    def split(self, name: str) -> tuple[MeasuredNetwork, ...]:
        return tuple(n for n in self.networks if n.split == name)


@dataclass(frozen=True)
class Profile:
    """A device's measurements by the keys of search spaces (space_key); `machine` are facts for the reader only."""

    name: str
    device: Device
    created: str
    machine: Mapping[str, Any]
    spaces: Mapping[str, Calibration]

    def calibration(self, space: SearchSpace) -> Calibration:
        """What was measured for a space, whatever its name was then; raises InputError when there is nothing."""
        if (key := space_key(space)) in self.spaces:
            return self.spaces[key]
        names = [calibration.space for calibration in self.spaces.values()]
        other = "; one of that name had other blocks or inputs" if space.name in names else ""
        known = ", ".join(sorted(names)) or "none"
        raise InputError(
            f'device {self.name} was not measured for space "{space.name}" (measured: {known}{other}); '
            f"run `nas device measure --space {space.name}`"
        )


@strict
@dataclass(frozen=True)
class _Content:
    """A profile's file, whose stem is its name."""

    schema: int
    device: Device
    created: str
    machine: dict[str, Any]
    spaces: dict[str, Calibration]


@dataclass(frozen=True)
class Listing:
    """A profile file that was found: its profile, or what is wrong with it."""

    name: str
    path: Path
    profile: Profile | None
    problem: str


# --- this machine ---

_cpu_model = cache(cpu_model)


def local_device(runtime: str = DEFAULT, threads: int = 1) -> Device:
    """This machine's processor, or GPU, with a runtime as it is installed; raises InputError where it is not."""
    code = load_runtime(runtime)
    version = code.version()
    processor: str = getattr(code, "processor", _cpu_model)()
    return Device(processor, runtime, version, threads, code.DTYPE)


# --- files ---


def list_profiles() -> list[Listing]:
    """Every profile, the user's own before the shipped ones."""
    return [_listing(name, path) for name, path in sorted(_profile_files().items())]


def load_profile(name_or_path: str = LOCAL, *, anywhere: bool = False) -> Profile:
    """The profile called `name`, in a file PATH.json, or of this machine ("local").

    Raises InputError when there is none, when the file is damaged or of another version, and, unless `anywhere`, when
    it belongs to another device than this machine with the runtime as installed.
    """
    profile = _read(_find(name_or_path))
    if not anywhere:
        _check_here(profile)
    return profile


def save_profile(profile: Profile) -> Path:
    """Adds a profile's calibrations to the file of its name, whole or not at all; returns the file.

    What the file has for other spaces is kept, also what another process adds meanwhile. A file of another device, or one
    that cannot be read, is kept as NAME.json.old. Raises InputError for figures that could not be read again.
    """
    folder = writable_folder()
    path = folder / f"{profile.name}.json"
    try:
        _sound(_content(profile))
    except InputError as error:
        raise InputError(f"{path} is not written, as it could not be read again: {error}") from None
    try:
        with locked(folder.with_suffix(".lock")):
            _write(path, json.dumps(_content(_added_to(path, profile)), separators=(",", ":")) + "\n")
    except OSError as error:
        raise InputError(f"cannot write the device profile {path}: {error.strerror}") from None
    return path


def _content(profile: Profile) -> dict[str, Any]:
    return {"schema": SCHEMA} | {k: v for k, v in asdict(profile).items() if k != "name"}


def _added_to(path: Path, profile: Profile) -> Profile:
    """What the file has and the profile; a file that is of no use any more is set aside."""
    if not path.exists():
        return profile
    known = _listing(path.stem, path).profile
    if known is not None and known.device == profile.device:
        return replace(known, spaces={**known.spaces, **profile.spaces})
    path.replace(path.with_suffix(".json.old"))
    return profile


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _profile_files() -> dict[str, Path]:
    shipped = Path(str(files("evaluators") / "devices"))
    found = [path for folder in (shipped, known_folder()) if folder for path in folder.glob("*.json")]
    return {path.stem: path for path in found}


def _find(name_or_path: str) -> Path:
    if name_or_path.endswith(".json"):
        if not Path(name_or_path).is_file():
            raise InputError(f"there is no device profile file {name_or_path}")
        return Path(name_or_path)
    known = _profile_files()
    name = local_device().name if name_or_path == LOCAL else name_or_path
    if name in known:
        return known[name]
    if name_or_path == LOCAL:
        raise InputError(f"this machine has not been measured yet ({local_device()}); run {_MEASURE}")
    raise InputError(f'there is no device "{name}"{near_miss(name, [LOCAL, *known])}')


def _listing(name: str, path: Path) -> Listing:
    try:
        return Listing(name, path, _read(path), "")
    except InputError as error:
        return Listing(name, path, None, str(error))


def _read(path: Path) -> Profile:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the device profile {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged (not JSON); {_AGAIN}") from None
    version = data.get("schema") if isinstance(data, dict) else None
    if version != SCHEMA:
        found = "not a device profile" if version is None else f"version {quoted(version)}"
        raise InputError(f"{path}: {found}, where version {SCHEMA} is read; {_AGAIN}")
    try:
        content = _sound(data)
    except InputError as error:
        raise InputError(f"{path}: {error}; {_AGAIN}") from None
    return Profile(path.stem, content.device, content.created, content.machine, content.spaces)


def _sound(data: Any) -> _Content:
    """A file's content; raises InputError unless every network can be built, at an input of its calibration."""
    content = checked(_Content, data, "damaged")
    for calibration in content.spaces.values():
        for network in calibration.networks:
            if Genotype.parse(network.genotype).input not in calibration.inputs:
                inputs = ", ".join(map(input_text, calibration.inputs))
                raise InputError(f"damaged: a network is not at one of the inputs {inputs}")
    return content


def _check_here(profile: Profile) -> None:
    here = local_device(profile.device.runtime, profile.device.threads)
    for field, word in (
        ("cpu", "processor"),
        ("runtime_version", "runtime version"),
        ("threads", "threads"),
        ("dtype", "dtype"),
    ):
        theirs, ours = getattr(profile.device, field), getattr(here, field)
        if theirs != ours:
            raise InputError(
                f"device profile {profile.name} is of another device: its {word} is {theirs}, here it is {ours}; "
                f"run {_MEASURE} for this one"
            )


# --- measuring ---


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
    """Measures this machine on `fit` + `verify` networks of a space, adds them to its profile's file, and returns it.

    `seconds` is the time spent timing; exporting comes on top. `progress(fraction, what)` is called often. What was
    measured is kept if the process dies: the next call with the same arguments goes on from there. One process of a machine
    measures at a time: `waiting` is called before this one waits for another, and unless it is to be `anew`, what that one
    has measured for the space is not measured again.
    """
    device = local_device(runtime, threads)
    path = writable_folder() / f"{_file_name(device, name)}.json"
    with measuring(waiting or _silent):
        known = None if anew else _added_meanwhile(path, device, space)
        if known is None:
            path = _measured_now(space, progress or _silent, name, seconds, (fit, verify, seed), device)
        return known or _read(path)


def _added_meanwhile(path: Path, device: Device, space: SearchSpace) -> Profile | None:
    """The profile in a file if it is this device's and covers the space."""
    found = _listing(path.stem, path).profile if path.exists() else None
    return found if found and found.device == device and space_key(space) in found.spaces else None


def _measured_now(
    space: SearchSpace, progress: Progress, name: str, seconds: float, draw: tuple[int, int, int], device: Device
) -> Path:
    """The file of the profile; `draw`: how many networks to fit to and to verify with, and the seed that picks them."""
    start, chosen, seed = time.monotonic(), choose_networks(space, *draw), draw[-1]
    journal = _Journal(user_folder() / f"{device.name}.{space_key(space)}.partial", chosen)
    code = load_runtime(device.runtime)
    _measure(chosen, journal, device, seconds, random.Random(seed), progress)
    took = time.monotonic() - start
    of_space = space.name, space.inputs
    calibration = calibrated(of_space, chosen, journal.samples, seed, took, kernels=journal.kernels, graph=code.GRAPH)
    path = save_profile(new_profile(device, name, space_key(space), calibration, this_machine()))
    journal.path.unlink(missing_ok=True)
    return path


@dataclass(frozen=True)
class Chosen:
    """A network to time, its number of classes, and whether it is to be fitted to or to verify with."""

    genotype: Genotype
    classes: int
    split: Split


def choose_networks(space: SearchSpace, fit: int, verify: int, seed: int) -> list[Chosen]:
    """Networks of a space to time: `verify` drawn at random, `fit` picked so that every choice is met often.

    They are drawn at all inputs of the space, padded in both ways (`SearchSpace.padding`), in turns.
    """
    rng = random.Random(seed)
    barred = {a.genotype.blocks for a in anchors()}
    ways = cycle([replace(space, inputs=(i,), padding=p) for i, p in product(space.inputs, get_args(PaddingRule))])
    drawn = (next(ways).sample(rng) for _ in range(_POOL))
    pool = list(dict.fromkeys(g for g in drawn if g.blocks not in barred))
    verified, rest = pool[:verify], pool[verify:]
    fitted = _covering(rest, fit)
    return [
        Chosen(genotype, rng.choice(_CLASSES), split)
        for split, genotypes in ((FIT, fitted), (VERIFY, verified))
        for genotype in genotypes
    ]


def _covering(pool: Sequence[Genotype], count: int) -> list[Genotype]:
    """Greedy: next always the network whose kinds, knobs and widths were met least so far, at the input met least."""
    tokens = {g: _tokens(g) for g in pool}
    met: Counter[tuple[Any, ...]] = Counter()
    inputs: Counter[Input | None] = Counter()
    chosen: list[Genotype] = []
    while len(chosen) < min(count, len(pool)):
        left = (g for g in pool if g not in chosen)
        best = max(left, key=lambda g: (-inputs[g.input], sum(1 / (1 + met[t]) ** 2 for t in tokens[g])))
        chosen.append(best)
        met.update(tokens[best])
        inputs[best.input] += 1
    return chosen


def _tokens(genotype: Genotype) -> set[tuple[Any, ...]]:
    """What a network has that is to be met: kinds by resolution, width, knobs, amount of work, and whether they read whole
    blocks of channels, as runtimes have other code for each.
    """
    found: set[tuple[Any, ...]] = set()
    width, *sides = genotype.input or (3, 0, 0)
    scale, pixels = 0, math.prod(sides)
    for spec in genotype.blocks:
        scale, pixels, read = scale + spec.stride - 1, pixels // spec.stride**2, width
        width = spec.out_width(read)
        arguments = spec.arguments()
        work = read * width * pixels * float(arguments.get("expand", 1)) * int(arguments.get("kernel", 1) or 1)
        found |= {(spec.kind, scale), (spec.kind, "width", spec.width), (spec.kind, "whole", read % _BLOCK == 0)}
        found |= {(spec.kind, "work", round(math.log2(1 + work)))}
        found |= {(spec.kind, knob, value) for knob, value in arguments.items()}
    return found


@strict
@dataclass(frozen=True)
class _Stored:
    """A line of a journal: a network's id and number of classes, what was measured of it."""

    network: str
    visits: list[Sample]
    kernels: tuple[Timed, ...]


class _Journal:
    """The samples so far, one JSON line a network; those of another choice of networks, and damaged ones, are left out."""

    def __init__(self, path: Path, chosen: Sequence[Chosen]) -> None:
        self.path = path
        self._keys = [f"{c.genotype.id} {c.classes}" for c in chosen]
        stored = {line.network: line for line in filter(None, map(_stored_line, whole_lines(path)))}
        self.samples = {i: stored[key].visits for i, key in enumerate(self._keys) if key in stored}
        self.kernels = {i: stored[key].kernels for i, key in enumerate(self._keys) if key in stored}

    def add(self, index: int, visits: list[Sample]) -> None:
        self.samples[index] = visits
        add_line(self.path, asdict(_Stored(self._keys[index], visits, self.kernels[index])))


def _stored_line(line: bytes) -> _Stored | None:
    """A line of a journal; None for one that a crash damaged, whose network is timed again."""
    try:
        return checked(_Stored, json.loads(line), "damaged")
    except (ValueError, RecursionError):
        return None


def _measure(
    chosen: Sequence[Chosen],
    journal: _Journal,
    device: Device,
    seconds: float,
    rng: random.Random,
    progress: Progress,
) -> None:
    """Exports and times what the journal lacks, a shuffled group at a time."""
    todo = [i for i in range(len(chosen)) if i not in journal.samples]
    rng.shuffle(todo)
    runtime = load_runtime(device.runtime)
    reference = load_reference(runtime, device.threads)
    with writers(device.runtime, len(todo)) as write:
        for start in range(0, len(todo), _GROUP):
            group = {i: chosen[i] for i in todo[start : start + _GROUP]}
            report = partial(_report, progress, len(chosen) - len(todo) + start, len(group), len(chosen))
            runs: list[Run] = []
            for i, (run, kernels) in zip(group, _exported(group.values(), runtime, device.threads, write), strict=True):
                runs.append(run)
                journal.kernels[i] = kernels
                report(0.5 * len(runs) / len(group), "exporting networks")
            share = seconds * len(group) / len(chosen)
            timed = sample_rounds(runs, reference, share, rng, partial(_second_half, report))
            for i, visits in zip(group, timed, strict=True):
                journal.add(i, visits)
    progress(1.0, "measured")


def _report(progress: Progress, done: int, group: int, total: int, part: float, what: str) -> None:
    """Progress of the whole from the part of a group that is done."""
    progress((done + group * part) / total, what)


def _second_half(report: Progress, part: float, _: str) -> None:
    report(0.5 + 0.5 * part, "timing networks")


def _exported(group: Iterable[Chosen], runtime: Runtime, threads: int, write: Write) -> Iterator[tuple[Run, tuple[Timed, ...]]]:
    """The networks, exported to temporary files, loaded, the files gone; and their kernels' times where the runtime tells."""
    tell = getattr(runtime, "kernel_times", None)
    with tempfile.TemporaryDirectory() as folder:
        files = ((chosen, Path(folder) / f"{i}{runtime.SUFFIX}") for i, chosen in enumerate(group))
        orders = [Order(chosen.genotype, chosen.genotype.task(chosen.classes), path) for chosen, path in files]
        for path in list(write(orders)):
            kernels = tuple((k.kind, k.size, round(k.ms, 6)) for k in tell(path, threads=threads)) if tell else ()
            yield runtime.load(path, threads), kernels


def calibrated(
    space: tuple[str, tuple[Input, ...]],
    chosen: Sequence[Chosen],
    samples: Mapping[int, Sequence[Sample]],
    seed: int,
    seconds: float,
    load: float | None = None,
    kernels: Mapping[int, tuple[Timed, ...]] | None = None,
    graph: Graph = "fused",
) -> Calibration:
    """What samples of the chosen networks, by index, come to; `load` is the machine's, by default of this one now.

    `space` is the name and the inputs of theirs.
    `kernels` are the times of their kernels, where the runtime tells them; `graph` is what it runs.
    """
    quiet = quietest([v for visits in samples.values() for v in visits])
    results = [summarise(samples[i], quiet) for i in range(len(chosen))]
    name, inputs = space
    return Calibration(
        space=name,
        inputs=inputs,
        seed=seed,
        created=_now(),
        seconds=round(seconds, 1),
        lowering=LOWERING,
        reference_ms=quiet * 1e3,
        noise=_median([r.spread for r in results]),
        contention=_median([r.contention for r in results]),
        load=load_average() if load is None else load,
        networks=tuple(
            replace(_entry(c, r, samples[i], graph), kernel_times=(kernels or {}).get(i, ()))
            for i, (c, r) in enumerate(zip(chosen, results, strict=True))
        ),
        clock=results[0].clock,
    )


def _entry(chosen: Chosen, result: Measurement, visits: Sequence[Sample], graph: Graph) -> MeasuredNetwork:
    return MeasuredNetwork(
        chosen.genotype.text,
        chosen.classes,
        chosen.split,
        result.robust_ms,
        result.p50_ms,
        result.p90_ms,
        result.n,
        result.spread,
        total_kernels(chosen.genotype, chosen.genotype.task(chosen.classes), graph),
        raw=tuple((_short(median(v.wall)), _short(median(v.cpu)), _short(v.reference)) for v in visits[:_RAW]),
    )


def _short(seconds: float) -> float:
    """Milliseconds with five digits: a raw visit need not fill the profile."""
    return float(f"{seconds * 1e3:.5g}")


def new_profile(device: Device, name: str, key: str, calibration: Calibration, machine: Mapping[str, Any]) -> Profile:
    """A profile of one calibration, by the device's own name where `name` is "local"."""
    return Profile(_file_name(device, name), device, _now(), machine, {key: calibration})


def _file_name(device: Device, name: str) -> str:
    return device.name if name == LOCAL else name


def _silent(*_: object) -> None:
    pass


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
