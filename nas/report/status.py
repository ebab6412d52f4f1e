"""`nas status`: progress of a run, and the best network so far."""

from pathlib import Path
from typing import Any

from nas.console import make_console
from nas.run.folder import open_run
from nas.run.lock import is_running


def status(path: Path) -> None:
    """Print the progress of a run; works while another process is running it."""
    from nas.report import table
    from nas.report.result import result

    console = make_console()
    run = open_run(path)
    found = result(run)
    if found["finished"]:
        table.show(console, found)
        return
    n, doing = found["counts"], "running" if is_running(path) else f"interrupted; continue with `nas resume {path}`"
    console.print(f"{run.path}: {doing}", highlight=False)
    console.print(
        f"{n['trained']} of {run.config.trials} candidates trained ({n['stopped_early']} stopped early), {n['failed']} failed, "
        f"{n['rejected']} rejected, {n['repeated']} repeated; {n['anchors_trained']} anchors trained; "
        f"{len(found['finalists']) + len(found['anchors'])} networks retrained"
    )
    leader = _leader(run)
    if leader:
        console.print(
            f"Best so far: {leader.anchor or leader.genotype.id}, validation {leader.accuracy:.2%}, "
            f"{leader.estimate.text.strip()}\n{leader.genotype.text}",
            highlight=False,
        )


def _leader(run: Any) -> Any:
    from nas.pipeline.ranking import ranking
    from nas.run.memory import read_journal

    leaders = ranking(read_journal(run.journal).trials, anchors=True)
    return leaders[0] if leaders else None
