"""Bundles: networks to be timed on a machine that has neither torch nor this project, and the profile of their results."""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

from evaluators.latency.bench import FORMAT, PACKAGES
from evaluators.latency.exporting import Order, writers
from evaluators.latency.kernel_model import Timed
from evaluators.latency.measure import REFERENCE, Sample, write_reference
from evaluators.latency.onnxruntime_profile import kernels_told
from evaluators.latency.profile import (
    FIT,
    LOCAL,
    VERIFY,
    Chosen,
    Device,
    Profile,
    calibrated,
    choose_networks,
    new_profile,
    stored_inputs,
    stored_kernels,
)
from evaluators.latency.runtime import DEFAULT, Clock, load_runtime
from evaluators.latency.space_key import space_key
from search_spaces.errors import InputError, near_miss
from search_spaces.folder import made_whole
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.task import Input

MANIFEST, SCRIPT = "manifest.json", "bench.py"
_LEAST_VISITS = 4
Progress = Callable[[float, str], None]
T = TypeVar("T")


def write_bundle(
    space: SearchSpace,
    folder: Path,
    fit: int,
    verify: int,
    seconds: float,
    seed: int,
    progress: Progress,
    runtime: str = DEFAULT,
) -> Path:
    """Writes networks and the reference as the runtime's files, manifest.json and bench.py; the whole folder, or nothing.

    Raises InputError when `folder` is not empty or cannot be made, and for a runtime that bench.py cannot run or whose
    converter is missing.
    """
    if runtime not in PACKAGES:
        raise InputError(f'no bundle can be made for the runtime "{runtime}"{near_miss(runtime, PACKAGES)}')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; --to names another folder")
    code = load_runtime(runtime)
    chosen = choose_networks(space, fit, verify, seed)
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
            "seconds": seconds,
            "runtime": runtime,
            "dtype": code.DTYPE,
            "reference": _file(reference, part) | {"genotype": REFERENCE.strip()},
            "networks": _networks_written(chosen, runtime, part, progress),
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        script = (files("evaluators.latency") / SCRIPT).read_text(encoding="utf-8")
        (part / SCRIPT).write_text(script, encoding="utf-8")
    progress(1.0, "exported")
    return folder


def _networks_written(chosen: Sequence[Chosen], runtime: str, folder: Path, progress: Progress) -> list[dict[str, Any]]:
    """The networks' entries in the manifest."""
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
    """The profile of one calibration that a bundle's results come to; not saved.

    Raises InputError for files that are damaged, incomplete, or not of each other.
    """
    manifest, text = _json(bundle / MANIFEST, "bundle's manifest")
    found, _ = _json(results, "results file")
    chosen, key, space = _checked(bundle / MANIFEST, lambda: _networks(manifest))
    if found.get("bundle") != hashlib.sha256(text).hexdigest():
        raise InputError(f"{results} was not measured with the bundle {bundle}")
    samples, device = _checked(results, lambda: (_samples(found, manifest), _device(found["device"], manifest)))
    missing = len(chosen) - len(samples)
    if missing or "created" not in found:
        left = f"{missing} of {len(chosen)} networks are not timed"
        raise InputError(f"{results} is incomplete ({left}); run {SCRIPT} again there: it goes on")
    seconds, load, created, machine = _checked(results, lambda: _conditions(found))
    kernels, graph = _checked(results, lambda: _kernels(found, manifest)), load_runtime(device.runtime).GRAPH
    seed, timed = int(manifest["seed"]), dict(enumerate(samples))
    calibration = calibrated(space, chosen, timed, seed, seconds, load, kernels, graph)
    return new_profile(device, name, key, replace(calibration, created=created), machine)


def _networks(manifest: Any) -> tuple[list[Chosen], str, tuple[str, tuple[Input, ...]]]:
    """The manifest's networks, and the key, name and inputs of the space."""
    inputs = stored_inputs(manifest["inputs"])
    chosen = [Chosen(Genotype.parse(n["genotype"]), int(n["classes"]), n["split"]) for n in manifest["networks"]]
    if any(c.split not in (FIT, VERIFY) for c in chosen) or not chosen:
        raise ValueError("a network is neither to be fitted to nor to verify with")
    if any(c.genotype.input not in inputs for c in chosen):
        raise ValueError("a network has an input that the space has not")
    return chosen, str(manifest["key"]), (str(manifest["space"]), inputs)


def _device(found: Any, manifest: Any) -> Device:
    device = Device(**found)
    texts = (device.cpu, device.runtime, device.runtime_version, device.dtype)
    if not all(isinstance(t, str) and t for t in texts) or type(device.threads) is not int or device.threads < 1:
        raise ValueError("the device is not well described")
    if (device.runtime, device.dtype) != (manifest["runtime"], manifest["dtype"]):
        raise ValueError("the runtime is not the bundle's")
    return device


def _samples(found: Any, manifest: Any) -> list[list[Sample]]:
    """The visits of each network that was timed, in the manifest's order."""
    clock = "cpu" if found["device"]["threads"] == 1 else "wall"
    if found["clock"] != clock:
        raise ValueError(f"timed by the clock {found['clock']}, not {clock}")
    timed = found["samples"]
    known = [timed[n["file"]] for n in manifest["networks"] if n["file"] in timed]
    return [[_sample(visit, cast(Clock, clock)) for visit in _enough(visits)] for visits in known]


def _kernels(found: Any, manifest: Any) -> dict[int, tuple[Timed, ...]]:
    """The kernels' times of each network of which the runtime told them, by its place in the manifest."""
    told = found["kernels"]
    files = (network["file"] for network in manifest["networks"])
    return {i: _kernels_of(told[file]) for i, file in enumerate(files) if file in told}


def _kernels_of(told: Mapping[str, Any]) -> tuple[Timed, ...]:
    try:
        graph = zlib.decompress(base64.b64decode(told["graph"], validate=True))
    except zlib.error:
        raise ValueError("a graph is not whole") from None
    return stored_kernels((k.kind, k.size, k.ms) for k in kernels_told(graph, told["times"]))


def _enough(visits: Any) -> Any:
    if len(visits) < _LEAST_VISITS:
        raise ValueError(f"a network was visited less than {_LEAST_VISITS} times")
    return visits


def _sample(visit: Any, clock: Clock) -> Sample:
    wall, cpu, reference = visit
    times = [*wall, *cpu, reference]
    if not wall or len(wall) != len(cpu) or not all(type(t) is float and 0 < t < math.inf for t in times):
        raise ValueError("a time is not a positive number of seconds")
    return Sample(tuple(wall), tuple(cpu), reference, clock)


def _conditions(found: Any) -> tuple[float, float, str, dict[str, Any]]:
    """Seconds that measuring took, load, date, facts about the machine."""
    created = datetime.fromisoformat(found["created"]).isoformat(timespec="seconds")
    return float(found["seconds"]), float(found["load"]), created, dict(found["machine"])


def _json(path: Path, what: str) -> tuple[Any, bytes]:
    """The content of a JSON file of this format, and its bytes."""
    try:
        text = path.read_bytes()
        found = json.loads(text)
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is damaged (not JSON); copy it again") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path} is not a {what} of format {FORMAT}")
    return found, text


def _checked(path: Path, read: Callable[[], T]) -> T:
    """What `read` makes of a file's content; raises InputError naming the file when that is not as it should be."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is damaged ({why}); copy it again, or make it anew") from None


def _file(path: Path, folder: Path) -> dict[str, str]:
    return {"file": path.relative_to(folder).as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
