"""Makes a calibration for a space from the samples of timed networks, and a profile from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median, median_high
from typing import Any

from evaluators.latency.device.choose_networks import Chosen
from evaluators.latency.device.profile import Calibration, Device, MeasuredNetwork, Profile, profile_name
from evaluators.latency.kernels.kernel import Timed
from evaluators.latency.kernels.lowering import LOWERING, graph_run, total_kernels
from evaluators.latency.runtime import Graph
from evaluators.latency.timing.bench import load_average
from evaluators.latency.timing.measure import Measurement, Sample, quietest, summarise
from search_spaces.task import Input

_RAW = 100  # turns per network whose raw figures are stored


def calibrated(
    space: tuple[str, tuple[Input, ...]],
    chosen: Sequence[Chosen],
    samples: Mapping[int, Sequence[Sample]],
    *,
    seed: int,
    seconds: float,
    load: float | None = None,
    kernels: Mapping[int, tuple[Timed, ...]] | None = None,
    graph: Graph = "fused",
) -> Calibration:
    """The calibration from samples of the chosen networks, by index.

    `space` is the space's name and inputs. `load` is the machine's load average, by default this machine's now. `kernels`
    are kernel times, if the runtime reports them; `graph` is the runtime's lowering.
    """
    graph = graph_run(graph, (timed for of_one in (kernels or {}).values() for timed in of_one))
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
        noise=median_high(r.spread for r in results),
        contention=median_high(r.contention for r in results),
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
    """Milliseconds with five significant digits, to keep profiles small."""
    return float(f"{seconds * 1e3:.5g}")


def new_profile(device: Device, name: str, key: str, calibration: Calibration, machine: Mapping[str, Any]) -> Profile:
    """A profile with one calibration, under the device's own name if `name` is "local"."""
    return Profile(profile_name(device, name), device, _now(), machine, {key: calibration})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
