"""`nas best`: what a run's front answers for another budget, without another search."""

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
    """A trained network of a run: its latency, measured or else the predicted upper bound, and validation accuracy 0..1.

    holds_ms: the least budget that it holds, by the rule of the run's latency budget.
    """

    name: str
    genotype_id: str
    latency_ms: float
    holds_ms: float
    measured: bool
    accuracy: float
    retrained: bool


def best(path: Path, budget_ms: float | None) -> None:
    """Prints the most accurate network within a budget, or without one the whole front; retrained and measured ones lead.

    Raises InputError when the run has no network within the budget.
    """
    run, console = open_run(path), make_console()
    memory = read_journal(run.journal)
    solid, rough = _front(retrained(run, memory)), searched(memory)
    everything = [*solid, *rough]
    if budget_ms is not None:
        solid, rough = _within(solid, budget_ms), _within(rough, budget_ms)
    if not solid and not rough:
        fastest = min((k.holds_ms for k in everything if math.isfinite(k.holds_ms)), default=None)
        least = "it has none of which that is known yet" if fastest is None else f"its fastest holds {fastest:.2f} ms"
        within = "" if budget_ms is None else f" within {budget_ms:g} ms"
        raise InputError(f"{path} has no network{within}; {least}")
    _show(console, run, solid, rough)


def retrained(run: Run, memory: Memory) -> list[Known]:
    """Networks that were retrained and, where the device is here, measured; accuracies are means over seeds."""
    budget, measured = run.config.latency_budget, memory.records(Measured)
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
    """Candidates that were trained to the end in the search, by their predicted bound; the front only."""
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


def _show(console: Console, run: Run, solid: list[Known], rough: list[Known]) -> None:
    table = Table(title=f"{run.name}: searched up to {run.config.latency_budget_ms:g} ms", title_justify="left")
    for name in ("network", "latency ms", "holds from", "validation", "how it is known"):
        table.add_column(name, justify="left" if name in ("network", "how it is known") else "right", no_wrap=True)
    for known in [*solid, *rough]:
        latency = "measured" if known.measured else "predicted upper bound"
        training = "retrained" if known.retrained else "as in the search, not retrained"
        holds = f"{known.holds_ms:.2f}" if math.isfinite(known.holds_ms) else "-"
        table.add_row(known.name, f"{known.latency_ms:.2f}", holds, f"{known.accuracy:.2%}", f"{latency}; {training}")
    console.print(table)
    if solid:
        console.print(f"Write its files: nas export {run.path} --network {solid[-1].name}", highlight=False)
    if rough and not any(k.genotype_id == rough[-1].genotype_id for k in solid):
        console.print(f"Train it further: nas train {run.path}:{rough[-1].name}", highlight=False)
