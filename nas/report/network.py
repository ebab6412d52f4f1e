"""`nas show`: print a network's blocks, cost and latency."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.table import Table

from evaluators.latency.device.local_device import measure_command
from evaluators.limits import bytes_text
from evaluators.precision import Precision
from nas.budget.device import find_predictor
from nas.console import make_console
from nas.report.find import find_network
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space import SearchSpace
from search_spaces.task import Task

if TYPE_CHECKING:
    from evaluators.cost import Cost
    from nas.report.latency_breakdown import Predicted, Profiled


def show(
    what: str,
    device: str,
    space_name: str,
    classes: int | None,
    *,
    measure: bool = False,
    plot: Path | None = None,
    size: str | None = None,
) -> None:
    """Print a table of blocks, with predicted latency if the device was measured.

    `measure`: also measure on this machine; `plot`: .png or .svg file for a bar chart of latency; `size`: overrides the
    network's input.
    """
    from evaluators.cost import cost
    from evaluators.dynamic import expected_macs, gated_blocks
    from nas.report import latency_breakdown as milliseconds

    milliseconds.check_plot(plot)
    console = make_console()
    title, genotype, space, task = find_network(what, space_name, classes, size)
    found, note = _predicted_parts(genotype, task, device, space)
    if plot and found is None:
        raise InputError(f"--plot shows predicted latency. {note}")
    figures, own = None, milliseconds.NONE
    if measure:
        [figures], [own] = milliseconds.measured([(genotype, task)], milliseconds.bench_of(device, space), console)
    total = cost(genotype, task)
    console.print(_block_table(title, genotype, task, found, own))
    if gates := gated_blocks(genotype):
        half = expected_macs(genotype, task, 0.5) / 1e6
        console.print(f"MACs are the worst case; expected MACs if half of the {gates} gated blocks run: {half:.1f} M.")
    console.print(f"Weights and peak activation memory at batch 1: {_sizes(total)}. {note}", highlight=False)
    milliseconds.show(console, genotype, found, own)
    if figures:
        console.print(milliseconds.measured_line(figures), highlight=False)
    if plot and found:
        milliseconds.plot(plot, title, genotype, found, own)
        console.print(f"Plot: {plot}", highlight=False)


def _sizes(total: "Cost") -> str:
    """Weights and memory in each precision."""
    found = ((p, total.size_bytes(p), total.memory_bytes(p)) for p in get_args(Precision))
    return "; ".join(f"{precision} {bytes_text(size)} and {bytes_text(memory)}" for precision, size, memory in found)


def _block_table(title: str, genotype: Genotype, task: Task, found: "Predicted | None", own: "Profiled") -> Table:
    """Blocks with shapes, params, MACs, predicted and (if known) profiled ms; last row: totals."""
    from evaluators.cost import block_costs, cost

    table = Table(title=title, title_justify="left")
    for column in ("#", "block", "input", "output", "params", "MACs M", "ms", *(["profiled"] if own.block_ms else [])):
        table.add_column(column, justify="left" if column == "block" else "right")
    for i, block in enumerate(block_costs(genotype, task)):
        table.add_row(
            str(i + 1),
            block.spec.text,
            _shape(block.in_shape),
            _shape(block.out_shape),
            f"{block.cost.params:,}",
            f"{block.cost.macs / 1e6:.2f}",
            f"{found.block_ms[i]:.3f}" if found else "-",
            *([f"{own.block_ms[i]:.3f}"] if own.block_ms else []),
        )
    total = cost(genotype, task)
    table.add_section()
    table.add_row(
        "",
        f"total ({genotype.id})",
        _shape(task.input),
        str(task.classes),
        f"{total.params:,}",
        f"{total.macs / 1e6:.1f}",
        f"{found.ms:.2f}" if found else "-",
        *([f"{sum(own.block_ms):.2f}"] if own.block_ms else []),
    )
    return table


def _predicted_parts(genotype: Genotype, task: Task, device: str, space: SearchSpace) -> tuple["Predicted | None", str]:
    """Predicted latency breakdown, or None, and a sentence to print."""
    from nas.report.latency_breakdown import predicted

    predictor = find_predictor(device, space)
    if predictor is None:
        hint = f"run {measure_command(device, space.name)}"
        return None, f"No predicted latency: the device was not measured for the space {space.name}; {hint}."
    try:
        found = predicted(predictor, genotype, task)
    except InputError as error:
        return None, f"No predicted latency: {error}"
    usual = f"Predicted {found.ms:.2f} ms, upper bound {found.bound_ms:.2f} ms, under typical load"
    return found, f"{usual} ({found.quiet_ms:.2f} ms on a quiet machine)."


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
