"""Bundles: networks to time on a machine without torch or this project, and import of their results as a profile."""

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from evaluators.latency.device.calibrate import calibrated, new_profile
from evaluators.latency.device.choose_networks import Chosen, Effort, choose_networks
from evaluators.latency.device.profile import LOCAL, Date, Device, Inputs, Profile, Split, Text
from evaluators.latency.device.space_key import space_key
from evaluators.latency.kernels import int8_profile, onnxruntime_profile
from evaluators.latency.kernels.kernel import Amount, Timed
from evaluators.latency.kernels.onnxruntime_profile import KernelTime
from evaluators.latency.runtime import DEFAULT, load_runtime
from evaluators.latency.timing.bench import FORMAT, LEAST_VISITS, PACKAGES
from evaluators.latency.timing.exporting import Order, writers
from evaluators.latency.timing.measure import REFERENCE, Progress, Sample, Seconds, Turn, write_reference
from search_spaces.errors import InputError, near_miss
from search_spaces.folder import made_whole
from search_spaces.genotype import Genotype
from search_spaces.schema import Count, FromZero, Seed, checked, strict
from search_spaces.space import SearchSpace

MANIFEST, SCRIPT = "manifest.json", "bench.py"
_MOST_GRAPH = 2**26  # bytes of a graph without its weights
_AGAIN = "copy it again, or create it again"
T = TypeVar("T")


def write_bundle(
    space: SearchSpace, folder: Path, effort: Effort, *, seed: int, progress: Progress, runtime: str = DEFAULT
) -> Path:
    """Writes networks and the reference as the runtime's files, manifest.json and bench.py; atomically.

    Raises InputError when `folder` is not empty or cannot be created, and for a runtime that bench.py cannot run or whose
    converter is not installed.
    """
    if runtime not in PACKAGES:
        raise InputError(f'bundles do not support the runtime "{runtime}"{near_miss(runtime, PACKAGES)}')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists; choose another folder with --to")
    code = load_runtime(runtime)
    chosen = choose_networks(space, effort.fit, effort.verify, seed)
    with made_whole(folder, "bundle") as part:
        (part / "networks").mkdir()
        reference = part / f"reference{code.SUFFIX}"
        write_reference(code, reference)
        manifest = {
            "format": FORMAT,
            "space": space.name,
            "key": space_key(space),
            "inputs": list(map(list, space.inputs)),
            "seed": seed,
            "seconds": effort.seconds,
            "runtime": runtime,
            "dtype": code.DTYPE,
            "reference": _file(reference, part) | {"genotype": REFERENCE.strip()},
            "networks": _networks_written(chosen, runtime, part, progress),
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        script = (files("evaluators.latency.timing") / SCRIPT).read_text(encoding="utf-8")
        (part / SCRIPT).write_text(script, encoding="utf-8")
    progress(1.0, "exported")
    return folder


def _networks_written(chosen: Sequence[Chosen], runtime: str, folder: Path, progress: Progress) -> list[dict[str, Any]]:
    """Exports the networks; returns their entries in the manifest."""
    suffix, found = load_runtime(runtime).SUFFIX, list[dict[str, Any]]()
    orders = [
        Order(network.genotype, network.genotype.task(network.classes), folder / "networks" / f"{i:03d}{suffix}")
        for i, network in enumerate(chosen)
    ]
    with writers(runtime, len(orders)) as write:
        for network, path in zip(chosen, write(orders), strict=True):
            about = {"genotype": network.genotype.text, "classes": network.classes, "split": network.split}
            found.append(_file(path, folder) | about)
            progress(len(found) / len(chosen), "exporting networks")
    return found


def import_results(results: Path, bundle: Path, name: str = LOCAL) -> Profile:
    """The profile made of a bundle's results, with one calibration; not saved.

    Raises InputError for files that are damaged, incomplete, or do not belong together.
    """
    known, text = _json(bundle / MANIFEST, "bundle's manifest")
    content, _ = _json(results, "results file")
    manifest = _read(_Manifest, known, bundle / MANIFEST, _networks)
    if content.get("bundle") != hashlib.sha256(text).hexdigest():
        raise InputError(f"{results} was not measured with the bundle {bundle}")
    found = _read(_Results, content, results, lambda found: _check_results(found, manifest))
    samples = [found.samples[n.file] for n in manifest.networks if n.file in found.samples]
    missing = len(manifest.networks) - len(samples)
    if missing or found.created is None:
        left = f"{missing} of {len(manifest.networks)} networks are not timed"
        raise InputError(f"{results} is incomplete ({left}); run {SCRIPT} again on that machine to continue")
    calibration = calibrated(
        (manifest.space, manifest.inputs),
        _networks(manifest),
        {i: [Sample(*visit, found.clock) for visit in visits] for i, visits in enumerate(samples)},
        seed=manifest.seed,
        seconds=found.seconds,
        load=found.load,
        kernels=_kernels(found, manifest, results),
        graph=load_runtime(found.device.runtime).GRAPH,
    )
    return new_profile(found.device, name, manifest.key, replace(calibration, created=found.created), found.machine)


@strict
@dataclass(frozen=True)
class _Reference:
    file: str
    sha256: str
    genotype: str


@strict
@dataclass(frozen=True)
class _Network:
    file: str
    sha256: str
    genotype: str
    classes: Count
    split: Split


@strict
@dataclass(frozen=True)
class _Manifest:
    """manifest.json."""

    format: int
    space: Text
    key: Text
    inputs: Inputs
    seed: Seed
    seconds: FromZero
    runtime: Text
    dtype: Text
    reference: _Reference
    networks: Annotated[tuple[_Network, ...], Field(min_length=1)]


@strict
@dataclass(frozen=True)
class _Profiled:
    """The runtime's profile of a network: the optimised graph and its kernels (evaluators.latency.timing.bench.profiled)."""

    graph: str
    times: list[tuple[str, str, list[list[Amount]], list[list[Amount]], FromZero]]


_Visit = tuple[Turn, Turn, Seconds]  # wall seconds, CPU seconds, seconds of the reference


@strict
@dataclass(frozen=True)
class _Results:
    """results.json; the last three fields are written once all networks are timed."""

    format: int
    bundle: str
    device: Device
    clock: Literal["cpu", "wall"]
    samples: dict[str, Annotated[list[_Visit], Field(min_length=LEAST_VISITS)]]
    kernels: dict[str, _Profiled]
    seconds: FromZero
    machine: dict[str, Any] = field(default_factory=dict)
    load: FromZero = 0.0
    created: Date | None = None


def _networks(manifest: _Manifest) -> list[Chosen]:
    """The networks to time; raises InputError for an invalid genotype, or an input that is not in the space."""
    chosen = [Chosen(Genotype.parse(n.genotype), n.classes, n.split) for n in manifest.networks]
    if any(c.genotype.input not in manifest.inputs for c in chosen):
        raise InputError("a network has an input that is not in the space")
    return chosen


def _check_results(found: _Results, manifest: _Manifest) -> None:
    if (found.device.runtime, found.device.dtype) != (manifest.runtime, manifest.dtype):
        raise InputError("its runtime differs from the bundle's")
    if (clock := "cpu" if found.device.threads == 1 else "wall") != found.clock:
        raise InputError(f"timed with the clock {found.clock}, not {clock}")
    if any(len(wall) != len(cpu) for visits in found.samples.values() for wall, cpu, _ in visits):
        raise InputError("a run lacks its CPU time or wall time")


def _kernels(found: _Results, manifest: _Manifest, results: Path) -> dict[int, tuple[Timed, ...]]:
    """The kernel times of each network that has them, by its index in the manifest."""
    told = (int8_profile if manifest.dtype == "int8" else onnxruntime_profile).kernels_told
    known = {i: network.file for i, network in enumerate(manifest.networks) if network.file in found.kernels}
    return {i: _kernels_of(found.kernels[file], told, f"{results}, {file}") for i, file in known.items()}


def _kernels_of(profile: _Profiled, told: Callable[[bytes, Any], list[KernelTime]], where: str) -> tuple[Timed, ...]:
    try:
        graph = zlib.decompressobj().decompress(base64.b64decode(profile.graph, validate=True), _MOST_GRAPH)
        rows = [(k.kind, k.size, k.ms) for k in told(graph, profile.times)]
    except zlib.error:
        raise InputError(f"{where} is damaged (a graph is truncated); {_AGAIN}") from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{where} is damaged (invalid kernel profile: {error}); {_AGAIN}") from None
    return checked(tuple[Timed, ...], rows, where)


def _json(path: Path, what: str) -> tuple[Any, bytes]:
    """The content of a JSON file of this format, and its raw bytes."""
    try:
        text = path.read_bytes()
        found = json.loads(text)
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is damaged (not JSON); copy it again") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path} is not a {what} of format {FORMAT}, the one this version supports; create it again")
    return found, text


def _read(kind: type[T], content: Any, path: Path, check: Callable[[T], object]) -> T:
    """A file's content as `kind`; raises InputError naming the file when it does not fit or fails the check."""
    try:
        found = checked(kind, content, f"{path} is damaged")
    except InputError as error:
        raise InputError(f"{error}; {_AGAIN}") from None
    try:
        check(found)
    except InputError as error:
        raise InputError(f"{path} is damaged ({error}); {_AGAIN}") from None
    return found


def _file(path: Path, folder: Path) -> dict[str, str]:
    return {"file": path.relative_to(folder).as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
