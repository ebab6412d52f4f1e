"""Latency breakdown of a network by block and kernel class, predicted and profiled: tables, bars and a plot."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.task import Task

if TYPE_CHECKING:
    from evaluators.latency.device.measure_networks import Bench
    from evaluators.latency.timing.measure import Measurement

_BAR = 40  # columns of the longest bar
_FORMATS = (".png", ".svg")
_SECONDS = 3.0  # measuring time per network


@dataclass(frozen=True)
class Predicted:
    """Predicted latency (ms) under typical load: total, upper bound, by block, by kernel class.

    quiet_ms: total on a quiet machine.
    """

    ms: float
    quiet_ms: float
    bound_ms: float
    block_ms: tuple[float, ...]
    class_ms: Mapping[str, float]


@dataclass(frozen=True)
class Profiled:
    """Profile from the runtime's profiler, scaled to the measured total because profiling slows a network down.

    The total is under typical load, like predictions. Empty if the runtime has no profiler; `block_ms` is also empty if the
    kernels do not match those expected by the lowering.
    """

    class_ms: Mapping[str, float]
    block_ms: tuple[float, ...] = ()


NONE = Profiled({})


def predicted(predictor: Any, genotype: Genotype, task: Task) -> Predicted:
    """Predict latency by block and kernel class; raises InputError if the device profile does not cover the network."""
    found, slower = predictor.predict(genotype, task), predictor.usual_slowdown
    class_ms = {kind: slower * ms for kind, ms in predictor.class_ms(genotype, task).items()}
    return Predicted(
        slower * found.ms, found.ms, slower * found.bound_ms, tuple(slower * ms for ms in found.block_ms), class_ms
    )


def bench_of(device: str, space: SearchSpace) -> "Bench":
    """How to measure on this machine: as in the device's profile, or with the default runtime if there is none.

    Raises InputError if the device is another machine.
    """
    from evaluators.latency.device.local_device import LOCALS, local_named
    from evaluators.latency.device.measure_networks import Bench
    from evaluators.latency.device.profile_files import load_profile
    from nas.budget.device import is_elsewhere, known_profile

    if is_elsewhere(device):
        raise InputError(f"device {device} is not this machine, where --measure runs; leave out one of the two")
    if known_profile(device, space) is None:
        return Bench((local_named(device) if device in LOCALS else load_profile(device).device).runtime)
    return Bench.of(load_profile(device), space)


def measured(
    networks: Sequence[tuple[Genotype, Task]], bench: "Bench", console: Console
) -> tuple[list["Measurement"], list[Profiled]]:
    """Measure untrained networks interleaved in one session, then profile each with the runtime.

    Waits while another process measures on this machine, and prints so.
    """
    from evaluators.latency.device.locks import WAITING, measuring
    from evaluators.latency.device.measure_networks import measure_here
    from evaluators.latency.runtime import load_runtime
    from evaluators.latency.timing.measure import slowdown
    from search_spaces.network import build

    code = load_runtime(bench.runtime)
    with measuring(lambda: console.print(WAITING)), tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}{code.SUFFIX}" for i in range(len(networks))]
        for (genotype, task), path in zip(networks, paths, strict=True):
            code.prepare(build(genotype, task).eval(), task, path)
        figures = measure_here(paths, _SECONDS * len(paths), bench)
        return figures, [
            _profiled(bench, path, genotype, task, found.robust_ms * slowdown(bench.usual))
            for path, (genotype, task), found in zip(paths, networks, figures, strict=True)
        ]


def _profiled(bench: "Bench", path: Path, genotype: Genotype, task: Task, total_ms: float) -> Profiled:
    if bench.runtime != "onnxruntime_cpu":
        return Profiled({})
    from evaluators.latency.kernels.by_block import by_block
    from evaluators.latency.kernels.onnxruntime_profile import kernel_times

    timed = kernel_times(path, threads=bench.threads)
    times = [(kernel.kind, kernel.ms) for kernel in timed]
    scale = total_ms / sum(ms for _, ms in times)
    class_ms: dict[str, float] = {}
    for kind, ms in times:
        class_ms[kind] = class_ms.get(kind, 0.0) + ms * scale
    return Profiled(class_ms, tuple(ms * scale for ms in by_block(timed, genotype, task)))


def measured_line(figures: "Measurement") -> str:
    """One printed sentence."""
    return (
        f"Measured p50 {figures.p50_ms:.2f} ms, p90 {figures.p90_ms:.2f} ms (n = {figures.n}), {figures.robust_ms:.2f} ms "
        f"(± {figures.spread:.1%}) corrected for contention; the machine was {figures.contention:.0%} slower than when quiet."
    )


def show(console: Console, genotype: Genotype, found: Predicted | None, own: Profiled) -> None:
    """Print the table of kernel classes, and a bar per block (predicted, else profiled)."""
    if found or own.class_ms:
        console.print(_class_table(found.class_ms if found else {}, own.class_ms))
    if block_ms := found.block_ms if found else own.block_ms:
        _print_bars(console, _labels(genotype), block_ms)


def _labels(genotype: Genotype) -> list[str]:
    return [f"{i} {spec.text}" for i, spec in enumerate(genotype.blocks, 1)]


def _class_table(class_ms: Mapping[str, float], own_ms: Mapping[str, float]) -> Table:
    """Kernel classes, slowest first: predicted ms and share, and profiled ones if known."""
    table = Table(title="By kernel class", title_justify="left")
    for column in ("kernel class", "predicted ms", "share", *(("profiled ms", "share") if own_ms else ())):
        table.add_column(column, justify="left" if column == "kernel class" else "right")
    for kind in _kinds(class_ms, own_ms):
        table.add_row(kind, *_cells(kind, class_ms), *(_cells(kind, own_ms) if own_ms else ()))
    return table


def _kinds(class_ms: Mapping[str, float], own_ms: Mapping[str, float]) -> list[str]:
    return sorted({**class_ms, **own_ms}, key=lambda kind: -max(class_ms.get(kind, 0), own_ms.get(kind, 0)))


def _cells(kind: str, class_ms: Mapping[str, float]) -> tuple[str, str]:
    if kind not in class_ms:
        return "-", "-"
    return f"{class_ms[kind]:.3f}", f"{class_ms[kind] / sum(class_ms.values()):.1%}"


def _print_bars(console: Console, labels: Sequence[str], milliseconds: Sequence[float]) -> None:
    """Print a bar per block."""
    longest, width = max(milliseconds), max(map(len, labels))
    for label, ms in zip(labels, milliseconds, strict=True):
        bar = "█" * round(_BAR * ms / longest) or "▏"
        console.print(f"{label:<{width}} {ms:7.3f} {bar}", highlight=False)


def check_plot(path: Path | None) -> None:
    """Raise InputError for an unknown file format, before anything is measured."""
    if path and path.suffix not in _FORMATS:
        raise InputError(f"--plot {path}: a plot must be a {' or '.join(_FORMATS)} file")


def plot(path: Path, title: str, genotype: Genotype, found: Predicted, own: Profiled) -> None:
    """Write a bar chart of latency by block and by kernel class, predicted and, if known, profiled."""
    from matplotlib.figure import Figure

    labels, kinds = _labels(genotype), _kinds(found.class_ms, own.class_ms)
    figure = Figure(figsize=(12, 1.5 + 0.24 * max(len(labels), len(kinds))), layout="constrained")
    blocks, classes = figure.subplots(1, 2, width_ratios=[3, 2])
    _plot_bars(blocks, "block", labels, found.block_ms, own.block_ms)
    profiled = [own.class_ms.get(kind, 0.0) for kind in kinds] if own.class_ms else []
    _plot_bars(classes, "kernel class", kinds, [found.class_ms.get(kind, 0.0) for kind in kinds], profiled)
    figure.suptitle(f"{title}: {found.ms:.2f} ms predicted", parse_math=False)
    try:
        figure.savefig(path, dpi=140)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _plot_bars(axes: Any, name: str, labels: Sequence[str], ms: Sequence[float], profiled_ms: Sequence[float]) -> None:
    height = 0.4 if profiled_ms else 0.8
    axes.barh(range(len(labels)), ms, height, color="tab:blue", label="predicted")
    if profiled_ms:
        axes.barh([i + height for i in range(len(labels))], profiled_ms, height, color="tab:orange", label="profiled")
        axes.legend()
    axes.set_yticks([i + (height / 2 if profiled_ms else 0) for i in range(len(labels))], labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="ms", title=f"by {name}")
    axes.grid(axis="x", alpha=0.25)
