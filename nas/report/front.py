"""`nas best`: the best network of a run for another budget, from its Pareto front."""

import math
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nas.console import make_console
from nas.pareto import front
from nas.pipeline.ranking import over_seeds
from nas.records import Again, Final, Measured
from nas.run.folder import Run, open_run
from nas.run.memory import Memory, read_journal
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Known:
    """A trained network of a run: latency (measured, or else the predicted upper bound) and validation accuracy 0..1.

    holds_ms: the smallest budget that it holds, by the run's decision rule.
    """

    name: str
    genotype_id: str
    latency_ms: float
    holds_ms: float
    measured: bool
    accuracy: float
    retrained: bool


def best(path: Path, budget_ms: float | None) -> None:
    """Print the most accurate network within a budget, or the whole front; retrained and measured networks come first.

    Raises InputError if the run has no network within the budget.
    """
    run, console = open_run(path), make_console()
    memory = read_journal(run.journal)
    final, search = _front(retrained(run, memory)), searched(memory)
    everything = [*final, *search]
    if budget_ms is not None:
        final, search = _within(final, budget_ms), _within(search, budget_ms)
    if not final and not search:
        fastest = min((k.holds_ms for k in everything if math.isfinite(k.holds_ms)), default=None)
        least = "no network has a known latency yet" if fastest is None else f"its fastest holds {fastest:.2f} ms"
        within = "" if budget_ms is None else f" within {budget_ms:g} ms"
        raise InputError(f"{path} has no network{within}; {least}")
    _show(console, run, final, search)


def retrained(run: Run, memory: Memory) -> list[Known]:
    """Retrained networks, measured unless the device is remote; accuracies are means over seeds."""
    budget, measured = run.config.latency_budget(run.resolved.precision), memory.records(Measured)
    found = []
    for i, final in over_seeds(memory.records(Final), memory.records(Again)).items():
        record = measured.get(i)
        if final.accuracy is None:
            continue
        if record and record.retrained:
            holds_ms = math.inf if record.holds_ms is None else record.holds_ms
            times = budget.figure_ms(record), holds_ms, True
        elif final.bound_ms is not None and not budget.measured:
            times = final.bound_ms, final.bound_ms, False
        else:
            continue
        found.append(Known(final.anchor or i, i, *times, final.accuracy, True))
    return found


def searched(memory: Memory) -> list[Known]:
    """Pareto front of fully trained candidates, by predicted upper bound."""
    trained = [t for t in memory.trials if t.outcome == "trained" and math.isfinite(t.estimate.bound_ms)]
    return _front(
        [
            Known(t.anchor or t.genotype.id, t.genotype.id, t.estimate.bound_ms, t.estimate.bound_ms, False, t.accuracy, False)
            for t in trained
        ]
    )


def _front(known: list[Known]) -> list[Known]:
    return [known[i] for i in front([(k.holds_ms, k.accuracy) for k in known])]


def _within(known: list[Known], budget_ms: float) -> list[Known]:
    """The most accurate one within the budget, if any."""
    return sorted((k for k in known if k.holds_ms <= budget_ms), key=lambda k: -k.accuracy)[:1]


def _show(console: Console, run: Run, final: list[Known], search: list[Known]) -> None:
    table = Table(title=f"{run.name}: searched within {run.config.budget_text}", title_justify="left")
    for name in ("network", "latency ms", "min. budget ms", "validation", "source"):
        table.add_column(name, justify="left" if name in ("network", "source") else "right", no_wrap=True)
    for known in [*final, *search]:
        latency = "measured" if known.measured else "predicted upper bound"
        training = "retrained" if known.retrained else "search only, not retrained"
        holds = f"{known.holds_ms:.2f}" if math.isfinite(known.holds_ms) else "-"
        table.add_row(known.name, f"{known.latency_ms:.2f}", holds, f"{known.accuracy:.2%}", f"{latency}; {training}")
    console.print(table)
    if final:
        console.print(f"Export it: nas export {run.path} --network {final[-1].name}", highlight=False)
    if search and not any(k.genotype_id == search[-1].genotype_id for k in final):
        console.print(f"Train it further: nas train {run.path}:{search[-1].name}", highlight=False)
