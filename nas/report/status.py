"""`nas status`: progress of a run, and the best network so far."""

from pathlib import Path

from rich.console import Console

from nas.console import make_console
from nas.pipeline.ranking import ranking
from nas.records import Final, Finished, Probe
from nas.run.folder import Run, open_run
from nas.run.lock import is_running
from nas.run.memory import Memory, counts, read_journal


def status(path: Path) -> None:
    """Print the progress of a run; works while another process is running it."""
    console, run = make_console(), open_run(path)
    memory = read_journal(run.journal)
    if memory.records(Finished):
        _show_result(console, run, memory)
        return
    n, doing = counts(memory.trials), "running" if is_running(path) else f"interrupted; continue with `nas resume {path}`"
    probes = [probe for probe in memory.records(Probe).values() if probe.accuracy is not None]
    retrained = [final for final in memory.records(Final).values() if final.anchor or final.origin == "search"]
    console.print(f"{run.path}: {doing}", highlight=False)
    console.print(
        f"{n['trained']} of {run.config.trials} candidates trained ({n['stopped_early']} stopped early), {n['failed']} failed, "
        f"{n['rejected']} rejected, {n['repeated']} repeated; hand-designed networks: linear probes {len(probes)}, "
        f"trained {n['anchors_trained']}; {len(retrained)} networks retrained"
    )
    for leader in ranking(memory.trials, anchors=True)[:1]:
        console.print(
            f"Best so far: {leader.anchor or leader.genotype.id}, validation {leader.accuracy:.2%}, "
            f"{leader.estimate.text.strip()}\n{leader.genotype.text}",
            highlight=False,
        )


def _show_result(console: Console, run: Run, memory: Memory) -> None:
    from nas.report import table
    from nas.report.result import result

    table.show(console, result(run, memory))
