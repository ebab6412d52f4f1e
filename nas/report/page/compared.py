"""Compares runs for comparison.html: what may be compared, their settings where they differ, their best networks."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from evaluators.latency.device.profile_files import load_profile
from nas.report.page.networks import name_of
from nas.report.result import result
from nas.run.config import SearchConfig
from nas.run.folder import Run, open_run
from nas.run.options import described, value_text
from nas.run.resuming import DECISIVE
from search_spaces.errors import InputError

_FIGURES = ("id", "genotype", "input", "test_accuracy", "test_error", "p50_ms", "p90_ms", "between", "sessions", "predicted_ms")


class Side(NamedTuple):
    """A run with its result, under a name that no other has; `device` is what its latencies were measured on, as text."""

    name: str
    run: Run
    found: dict[str, Any]
    device: str


def sides_of(paths: Sequence[Path]) -> list[Side]:
    """Open runs; raises InputError unless their accuracies can be compared."""
    runs = [open_run(path) for path in paths]
    places = [run.path.resolve() for run in runs]
    if twice := [run for run, place in zip(runs, places, strict=True) if places.count(place) > 1]:
        raise InputError(f"{twice[0].path} is given more than once")
    for run in runs[1:]:
        if why := _apart(runs[0], run):
            raise InputError(f"{run.path} cannot be compared with {runs[0].path}: {why}")
    alike = len({run.name for run in runs}) < len(runs)
    return [Side(str(run.path) if alike else run.name, run, result(run), _device(run)) for run in runs]


def _apart(one: Run, other: Run) -> str:
    """Why the accuracies of two runs mean different things; empty if they do not."""
    if one.config.metric != other.config.metric:
        return f"accuracy is {one.config.metric} there and {other.config.metric} here"
    data = one.config.data, other.config.data
    known = one.resolved.fingerprint, other.resolved.fingerprint
    if one.resolved.classes != other.resolved.classes:
        return f"the classes differ ({data[0]} there, {data[1]} here)"
    if known[0].get("test") != known[1].get("test"):
        return f"the test images differ: {known[0].get('test')} there, {known[1].get('test')} here"
    same = known[0] == known[1] if all(known) else data[0] == data[1]
    return "" if same else f"the images, or their split, differ ({data[0]} there, {data[1]} here)"


def _device(run: Run) -> str:
    device = load_profile(str(run.device_profile), anywhere=True).device
    return f"{device.cpu}, {device.runtime} {device.runtime_version}, {device.threads} thread(s)"


def remarks(sides: Sequence[Side]) -> list[str]:
    """What to keep in mind when reading the comparison, in sentences."""
    found = [f"{side.name} is not finished." for side in sides if not side.found["finished"]]
    found += [f"{side.name} did not measure latency (--no-measure)." for side in sides if not side.found["measured"]]
    if not same_device(sides):
        found.append("Latency was measured on different devices or runtimes: compare accuracies, not milliseconds.")
    if len({side.found["precision"] for side in sides}) > 1:
        each = ", ".join(f"{side.found['precision']} in {side.name}" for side in sides)
        found.append(f"Accuracy and latency are of networks deployed in different precisions: {each}.")
    return found


def same_device(sides: Sequence[Side]) -> bool:
    return len({side.device for side in sides}) == 1


def settings(sides: Sequence[Side]) -> dict[str, list[str]]:
    """Settings that differ, with the value of each run: options, what they resolved to, device, machine, versions."""
    found = {
        one.flag: [value_text(one, getattr(side.run.config, one.name)) for side in sides] for one in described(SearchConfig)
    }
    for name in ("precision", "donor"):
        found[f"{name} used"] = [str(getattr(side.run.resolved, name) or "none") for side in sides]
    for name in ("recipe", "final_recipe"):
        for key in asdict(getattr(sides[0].run.resolved, name)):
            found[f"{name}: {key}"] = [str(getattr(getattr(side.run.resolved, name), key)) for side in sides]
    found |= {"device": [side.device for side in sides], "machine": [side.run.machine for side in sides]}
    found |= {name: [side.run.versions.get(name, "unknown") for side in sides] for name in DECISIVE}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def rows(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """For each run its best network and the best hand-designed one within its budget, None if there is none.

    `lead` is how much more accurate the best network is than the hand-designed one on the test set, `ahead` than the first
    run's best, as (difference, standard error) in 0..1; standard errors are added as if the test images were independent.
    """
    first = _figures(sides[0].found["best"])
    return [_row(sides[0], None), *(_row(side, first) for side in sides[1:])]


def _row(side: Side, first: dict[str, Any] | None) -> dict[str, Any]:
    best, rivals = side.found["best"], [a for a in side.found["anchors"] if a["fits"] and a["test_accuracy"] is not None]
    rival = max(rivals, key=lambda entry: entry["test_accuracy"], default=None)
    own, other = _figures(best), _figures(rival)
    return {
        "run": side.name,
        "path": str(side.run.path),
        "finished": side.found["finished"],
        "budget": side.found["budget"],
        "best": own,
        "hand_designed": other,
        "lead": _difference(own, other),
        "ahead": _difference(own, first),
        "trained": side.found["counts"]["trained"],
        "minutes": round(side.found["wall_seconds"] / 60, 1),
    }


def _figures(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    return {"name": name_of(entry), **{key: entry[key] for key in _FIGURES}} if entry else None


def _difference(one: dict[str, Any] | None, other: dict[str, Any] | None) -> tuple[float, float] | None:
    if not one or not other or one["test_accuracy"] is None or other["test_accuracy"] is None:
        return None
    return one["test_accuracy"] - other["test_accuracy"], math.hypot(one["test_error"], other["test_error"])
