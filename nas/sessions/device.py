"""`nas device`: measure this machine, show and check profiles, write bundles for other machines."""

import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nas.console import make_console
from nas.progress import ConsoleProgress, Progress
from nas.sessions.measure import MeasureConfig, measured, say_quality, shares, waiting
from search_spaces.errors import InputError, near_miss
from search_spaces.schema import checked
from search_spaces.space_file import load_space
from search_spaces.task import input_text

if TYPE_CHECKING:
    from evaluators.latency.device.profile import Calibration, MeasuredNetwork, Profile
    from evaluators.latency.predict.predictor import Predictor

_CHECK_NETWORKS = 6  # networks
_CHECK_S = 12.0
_TOLERANCE = 0.10
_COLUMNS = (
    *("space", "inputs", "networks", "age", "clock", "noise", "contention", "held out"),
    *("error (rms)", "within 5 %", "within 10 %", "rank", "bound"),
)


def measure(asked: MeasureConfig, progress: Progress) -> Path:
    """Measure this machine for a space, even if it was measured before; returns the profile's file."""
    from evaluators.latency.device.local_device import LOCALS
    from evaluators.latency.device.profile import LOCAL
    from nas.budget.device import device_at

    config = checked(MeasureConfig, asdict(asked), "device measure")
    if config.device in LOCALS and config.device != LOCAL:
        device_at(config.device, config.precision)  # refuses another precision than the name's
        config = replace(config, device=LOCAL, precision=LOCALS[config.device])
    return measured(progress, load_space(config.space), config)


def listed() -> None:
    """List the profiles."""
    from nas.report import listing

    listing.show("devices")


def show(name: str, plot: Path | None) -> None:
    """Show a profile and its prediction error on held-out networks."""
    from evaluators.latency.device.profile_files import load_profile
    from evaluators.latency.predict.predictor import Predictor

    console, profile = make_console(), load_profile(name, anywhere=True)
    machine = ", ".join(f"{key} {value}" for key, value in profile.machine.items())
    console.print(f"{profile.name}\n{profile.device}\n{machine}", highlight=False)
    table, predictors = Table(), {key: Predictor(profile, calibration) for key, calibration in profile.spaces.items()}
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for key, calibration in profile.spaces.items():
        table.add_row(f"{calibration.space} {key}", *_facts(calibration), *_quality(predictors[key]))
    console.print(table)
    console.print(
        "Errors are on held-out networks; the upper bound holds for 95 % of them. Noise is the standard error of one "
        "network's latency, contention the slowdown of the reference network relative to its fastest run."
    )
    if plot:
        _plot(profile, predictors, plot)
        console.print(f"Plot: {plot}", highlight=False)


def check(name: str, space_name: str | None) -> bool:
    """Measure a few of a profile's networks again; print and return whether the profile is still valid."""
    from evaluators.latency.device.locks import measuring
    from evaluators.latency.device.profile_files import load_profile

    console, profile = make_console(), load_profile(name)
    newest = max(profile.spaces.values(), key=lambda known: known.created)
    calibration = profile.calibration(load_space(space_name)) if space_name else newest
    chosen = _spread_out(calibration.networks, _CHECK_NETWORKS)
    with ConsoleProgress(console) as progress, measuring(waiting(progress)):
        figures, quiet_ms = _timed_again(profile, calibration, chosen, shares(progress))
    table = Table()
    for column in ("network", "profile ms", "ms now", "ratio"):
        table.add_column(column, justify="right")
    for network, (ms, _) in zip(chosen, figures, strict=True):
        table.add_row(f"{calibration.networks.index(network) + 1}", f"{network.ms:.3f}", f"{ms:.3f}", f"{ms / network.ms:.3f}")
    console.print(table)
    ratios = [ms / network.ms for network, (ms, _) in zip(chosen, figures, strict=True)]
    holds, sentence = verdict(ratios, [spread for _, spread in figures], calibration.noise, quiet_ms / calibration.reference_ms)
    console.print(f"{profile.name}, space {calibration.space}: {sentence}", highlight=False)
    return holds


def verdict(ratios: Sequence[float], spreads: Sequence[float], noise: float, slower: float) -> tuple[bool, str]:
    """Whether a profile is still valid, and a sentence saying why.

    `ratios` are latencies now over those in the profile. The tolerance is 10 %, or three times the combined noise if that is
    more. `slower` is the same ratio for the reference network on a quiet machine.
    """
    ratio, limit = statistics.median(ratios), max(_TOLERANCE, 3 * math.hypot(noise, statistics.median(spreads)))
    scatter = statistics.median([abs(r / ratio - 1) for r in ratios]) * 1.4826
    figures = f"latency is {ratio:.3f} times the profile's, median of {len(ratios)} networks (spread {scatter:.1%})"
    if abs(ratio - 1) <= limit:
        return True, f"valid; {figures}."
    if abs(ratio / slower - 1) <= limit:
        why = f"the whole machine runs at {1 / slower:.2f} of its earlier speed (busy, hot, or at another clock rate)"
        return False, f"not valid now; {figures}: {why}. Check again when the machine is idle, or measure again."
    return False, f"not valid; {figures}, the tolerance is {limit:.0%}. Measure again with `nas device measure`."


def bundle(space_name: str, folder: Path | None, effort: str, seed: int, runtime: str) -> None:
    """Write networks and a script that measures them on a machine without torch or this project."""
    from evaluators.latency.device.bundle import SCRIPT, write_bundle
    from evaluators.latency.device.choose_networks import EFFORTS
    from evaluators.latency.timing.bench import PACKAGES

    console, space, (fit, verify, _) = make_console(), load_space(space_name), EFFORTS[effort]
    folder = folder or Path(f"{space.name}-bundle")
    with ConsoleProgress(console) as progress:
        write_bundle(space, folder, EFFORTS[effort], seed=seed, progress=shares(progress), runtime=runtime)
    console.print(
        f"{folder}: {fit + verify} networks. Copy it to the device (which needs Python, numpy and "
        f"{PACKAGES[runtime]}) and run\n"
        f"    python {SCRIPT}\n"
        f"Then copy results.json back and run\n    nas device import results.json --bundle {folder}",
        highlight=False,
    )


def import_(results: Path, folder: Path, name: str) -> None:
    """Create a profile from the results of a bundle's script."""
    from evaluators.latency.device.bundle import import_results
    from evaluators.latency.device.profile_files import save_profile
    from evaluators.latency.predict.predictor import Predictor

    console, profile = make_console(), import_results(results, folder, name)
    [calibration] = profile.spaces.values()
    Predictor(profile, calibration)
    with ConsoleProgress(console) as progress:
        say_quality(progress, profile, calibration, save_profile(profile))


def _facts(calibration: "Calibration") -> list[str]:
    created = datetime.fromisoformat(calibration.created)
    days = (datetime.now(UTC) - (created if created.tzinfo else created.replace(tzinfo=UTC))).days
    return [
        ", ".join(map(input_text, calibration.inputs)),
        str(len(calibration.networks)),
        f"{days} day{'' if days == 1 else 's'}",
        calibration.clock,
        f"{calibration.noise:.1%}",
        f"{calibration.contention:.0%}",
    ]


def _quality(predictor: "Predictor") -> list[str]:
    quality = predictor.quality
    return [
        f"{quality['n']:.0f}",
        f"{quality['rmspe']:.1%}",
        f"{quality['within_5']:.0%}",
        f"{quality['within_10']:.0%}",
        f"{quality['spearman']:.3f}",
        f"x {quality['factor']:.2f}",
    ]


def _spread_out(networks: Sequence["MeasuredNetwork"], count: int) -> list["MeasuredNetwork"]:
    """`count` networks from fastest to slowest, evenly spaced by rank."""
    ordered = sorted(networks, key=lambda n: n.ms)
    count = min(count, len(ordered))
    return [ordered[round(i * (len(ordered) - 1) / max(1, count - 1))] for i in range(count)]


def _timed_again(
    profile: "Profile", calibration: "Calibration", chosen: Sequence["MeasuredNetwork"], report: Callable[[float, str], None]
) -> tuple[list[tuple[float, float]], float]:
    """Current latency (ms) and spread of each network, and the reference network's latency when quiet."""
    import random

    from evaluators.latency.runtime import load_runtime
    from evaluators.latency.timing.exporting import write_network
    from evaluators.latency.timing.measure import load_reference, quietest, sample_rounds, summarise
    from search_spaces.genotype import Genotype

    code, threads, runs = load_runtime(profile.device.runtime), profile.device.threads, []
    with tempfile.TemporaryDirectory() as folder:
        for i, network in enumerate(chosen):
            report(0.3 * i / len(chosen), "exporting networks")
            path = Path(folder) / f"{i}{code.SUFFIX}"
            genotype = Genotype.parse(network.genotype)
            write_network(genotype, genotype.task(network.classes), code, path)
            runs.append(code.load(path, threads))
    reference = load_reference(code, threads)
    samples = sample_rounds(runs, reference, _CHECK_S, random.Random(0), lambda part, what: report(0.3 + 0.7 * part, what))
    quiet = quietest([s for visits in samples for s in visits])
    figures = [summarise(visits, quiet) for visits in samples]
    return [(f.robust_ms, f.spread) for f in figures], quiet * 1e3


def _plot(profile: "Profile", predictors: "dict[str, Predictor]", path: Path) -> None:
    """Scatter plot of predicted against measured latency, one panel per space; held-out networks in colour."""
    from matplotlib.figure import Figure

    from evaluators.latency.device.profile import FIT, VERIFY

    if path.suffix not in (".png", ".svg"):
        raise InputError(f"{path}: a plot must be a .png or .svg file{near_miss(path.suffix, ['.png', '.svg'])}")
    figure = Figure(figsize=(6 * len(predictors), 6), layout="constrained")
    for axes, (key, predictor) in zip(figure.subplots(1, len(predictors), squeeze=False)[0], predictors.items(), strict=True):
        calibration = profile.spaces[key]
        for split, style in ((FIT, {"color": "0.7", "s": 12}), (VERIFY, {"color": "C0", "s": 28})):
            points = [(n.ms, ms) for n in calibration.split(split) if (ms := _predicted(predictor, n)) is not None]
            axes.scatter(*zip(*points, strict=True), label=f"{split} ({len(points)})", **style)
        limits = [0.9 * min(n.ms for n in calibration.networks), 1.1 * max(n.ms for n in calibration.networks)]
        axes.plot(limits, limits, color="black", linewidth=0.8)
        axes.fill_between(limits, [0.9 * v for v in limits], [1.1 * v for v in limits], alpha=0.1, color="C0", label="±10 %")
        axes.set_title(calibration.space, parse_math=False)
        axes.set(xlabel="measured ms, quiet machine", ylabel="predicted ms, quiet machine", xscale="log", yscale="log")
        axes.legend()
    figure.suptitle(str(profile.device), parse_math=False)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _predicted(predictor: "Predictor", network: "MeasuredNetwork") -> float | None:
    """Predicted latency (ms); None if an operation is not in the profile."""
    from search_spaces.genotype import Genotype

    genotype = Genotype.parse(network.genotype)
    try:
        return predictor.predict(genotype, genotype.task(network.classes)).ms
    except InputError:
        return None
