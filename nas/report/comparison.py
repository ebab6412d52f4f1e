"""`nas compare X Y`: compare two networks by cost, predicted latency, kernel classes and, on request, measured latency."""

from dataclasses import dataclass
from typing import get_args

from rich.table import Table

from evaluators.cost import Cost, cost
from evaluators.latency.device.local_device import measure_command
from evaluators.precision import Precision
from nas.budget.device import find_predictor
from nas.console import make_console
from nas.report.find import find_network
from nas.report.latency_breakdown import Predicted, bench_of, measured, measured_line, predicted
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.task import Task


@dataclass(frozen=True)
class _Side:
    """One of the two networks; if latency cannot be predicted, `milliseconds` is None and `why` the reason."""

    title: str
    genotype: Genotype
    space: SearchSpace
    task: Task
    cost: Cost
    milliseconds: Predicted | None
    why: str


def compare(
    names: tuple[str, str], device: str, space_name: str, *, classes: int | None, measure: bool, size: str | None = None
) -> None:
    """Print both networks' figures and their ratios; `size` overrides their input."""
    console = make_console()
    sides = [_side(name, device, space_name, classes, size) for name in names]
    table = Table(title=" vs ".join(s.title for s in sides), title_justify="left")
    for column in ("", *names, "second / first"):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    for row in _cost_rows(sides):
        table.add_row(*row)
    table.add_section()
    for row in _latency_rows([s.milliseconds for s in sides]):
        table.add_row(*row)
    lines = [f"{name}: no predicted latency: {s.why}" for name, s in zip(names, sides, strict=True) if s.why]
    if measure:
        figures, _ = measured([(s.genotype, s.task) for s in sides], bench_of(device, sides[0].space), console)
        table.add_section()
        for label, values in (("p50", [f.p50_ms for f in figures]), ("p90", [f.p90_ms for f in figures])):
            table.add_row(*_row(f"measured {label} ms", values, ".2f"))
        lines += [f"{name}: {measured_line(f)}" for name, f in zip(names, figures, strict=True)]
    console.print(table)
    for line in lines:
        console.print(line, highlight=False)
    inputs = dict.fromkeys("x".join(map(str, s.task.input)) for s in sides)
    console.print(f"Input {' and '.join(inputs)}; latency at batch 1, predicted under typical load.", highlight=False)


def _side(name: str, device: str, space_name: str, classes: int | None, size: str | None) -> _Side:
    title, genotype, space, task = find_network(name, space_name, classes, size)
    predictor, milliseconds, why = find_predictor(device, space), None, ""
    if predictor is None:
        why = f"the device was not measured for the space {space.name}; run {measure_command(device, space.name)}"
    else:
        try:
            milliseconds = predicted(predictor, genotype, task)
        except InputError as error:
            why = str(error)
    return _Side(title, genotype, space, task, cost(genotype, task), milliseconds, why)


def _cost_rows(sides: list[_Side]) -> list[tuple[str, ...]]:
    return [
        _row("blocks", [len(s.genotype.blocks) for s in sides], "d"),
        _row("params", [s.cost.params for s in sides], ",d"),
        _row("MACs M", [s.cost.macs / 1e6 for s in sides], ".1f"),
        *(_row(f"weights KB, {p}", [s.cost.size_bytes(p) / 1e3 for s in sides], ",.0f") for p in get_args(Precision)),
        *(_row(f"peak memory KB, {p}", [s.cost.memory_bytes(p) / 1e3 for s in sides], ",.0f") for p in get_args(Precision)),
    ]


def _latency_rows(sides: list[Predicted | None]) -> list[tuple[str, ...]]:
    known = {kind for s in sides if s for kind in s.class_ms}
    by_time = sorted(known, key=lambda kind: -max(s.class_ms.get(kind, 0.0) for s in sides if s))
    return [
        _row("predicted ms", [s.ms if s else None for s in sides], ".2f"),
        _row("upper bound ms", [s.bound_ms if s else None for s in sides], ".2f"),
        *(_row(f"  {kind}", [s.class_ms.get(kind, 0.0) if s else None for s in sides], ".3f") for kind in by_time),
    ]


def _row(label: str, values: list[int] | list[float] | list[float | None], form: str) -> tuple[str, ...]:
    first, second = values
    ratio = f"{second / first:.2f}" if first and second is not None else "-"
    return label, *("-" if v is None else format(v, form) for v in values), ratio
